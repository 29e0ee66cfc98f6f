//! `#$` lines of Grid Engine.

use crate::language::batch::amounts;
use crate::language::import::directive::Word;
use crate::language::import::wish::{Arg, Array, Gpus, Memory, Reader, Wish, clock, variables};
use crate::model::batch::Flavour;
use crate::model::diagnostic::Span;
use crate::model::units::Bytes;

/// Options of `qsub` without a value.
const FLAGS: &[&str] =
    &["-cwd", "-V", "-notify", "-terse", "-hard", "-soft", "-h", "-clear", "-verify", "-inherit", "-nostdin"];

/// Reads the words of one directive.
pub(super) fn apply(wish: &mut Wish, words: &[Word]) {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if !word.text.starts_with('-') {
            let message = format!("`{}` is not an option", word.text);
            wish.warn(
                &Arg { option: "", value: "", span: word.span },
                message,
                "remove it, or quote the value before it",
            );
            continue;
        }
        let takes = if FLAGS.contains(&word.text.as_str()) {
            0
        } else if word.text == "-pe" {
            2
        } else {
            1
        };
        let mut span = word.span;
        let mut values = Vec::new();
        for next in rest.by_ref().take(takes) {
            span = Span { start: span.start, end: next.span.end };
            values.push(next.text.as_str());
        }
        let value = values.join(" ");
        set(wish, &Arg { option: &word.text, value: &value, span });
    }
}

fn set(wish: &mut Wish, arg: &Arg<'_>) {
    let text = || Some(arg.value.to_owned()).filter(|text| !text.trim().is_empty());
    match arg.option {
        "-N" => wish.name = text(),
        "-P" | "-A" => wish.account = text(),
        "-q" => wish.partition = text(),
        "-pe" => set_slots(wish, arg),
        "-l" => arg.value.split(',').for_each(|resource| set_resource(wish, resource, arg)),
        "-t" => wish.set_array(arg, "SGE_TASK_ID"),
        "-tc" => set_limit(wish, arg),
        "-wd" => wish.workdir = text(),
        "-i" => wish.stdin = text(),
        "-S" => wish.shell = text(),
        "-v" => wish.env.extend(variables(arg.value)),
        "-o" | "-e" | "-j" => wish.log_files = wish.log_files.or(Some(arg.span)),
        "-hold_jid" | "-hold_jid_ad" if wish.reader == Reader::Native => {
            wish.keep(arg.option.trim_start_matches('-'), Some(arg.value));
        }
        "-hold_jid" | "-hold_jid_ad" => wish.warn(
            arg,
            format!("the dependency on job {} is not carried over", arg.value),
            "import both scripts into one workflow and write `needs = [\"...\"]`",
        ),
        "-cwd" => wish.keep("cwd", None),
        "-m" | "-M" => wish.keep_native(arg.option.trim_start_matches('-'), arg),
        // How `qsub` itself talks, and the environment: csync has its own way.
        "-V" | "-terse" | "-sync" | "-now" | "-b" | "-shell" | "-w" | "-verify" | "-clear" | "-hard" => {}
        "-r" | "-R" | "-p" | "-notify" => wish.keep(arg.option.trim_start_matches('-'), Some(arg.value)),
        option => {
            let name = option.trim_start_matches('-');
            wish.keep_for("Grid Engine", name, arg.value, &format!("`{option}`"), arg);
        }
    }
}

/// Reads `-pe NAME SLOTS`: the slots are ranks where the name says so, else the cores of one process.
fn set_slots(wish: &mut Wish, arg: &Arg<'_>) {
    let (name, slots) = arg.value.split_once(' ').unwrap_or((arg.value, ""));
    // Of a range the least is asked for.
    let least = |text: &str| text.split('-').next()?.parse().ok().filter(|&n: &u32| n > 0);
    let Some(slots) = wish.read(&Arg { value: slots, ..arg.clone() }, "a number of slots", least) else { return };
    let lower = name.to_ascii_lowercase();
    let ranks = ["mpi", "orte", "pvm", "round", "rr", "fill", "dist"].iter().any(|word| lower.contains(word));
    if ranks && !lower.contains("openmp") {
        (wish.processes, wish.cpus) = (Some(slots), Some(1));
    } else {
        wish.cpus = Some(slots);
    }
    wish.keep("pe", Some(arg.value));
}

fn set_limit(wish: &mut Wish, arg: &Arg<'_>) {
    let Some(limit) = wish.count(arg) else { return };
    match &mut wish.array {
        Some(array) => array.limit = Some(limit),
        None => {
            wish.array = Some(Array { ids: Vec::new(), limit: Some(limit), variable: "SGE_TASK_ID" });
        }
    }
}

/// Reads one element of `-l`. Memory is counted by slot.
fn set_resource(wish: &mut Wish, resource: &str, arg: &Arg<'_>) {
    let (name, value) = resource.split_once('=').unwrap_or((resource, ""));
    let arg = Arg { value, ..arg.clone() };
    match name.trim() {
        "" => {}
        "h_rt" => wish.time = wish.read(&arg, "a walltime of Grid Engine", clock).or(wish.time),
        "s_rt" => {
            let time = wish.read(&arg, "a walltime of Grid Engine", clock);
            wish.time = wish.time.or(time);
        }
        // As the site counts it.
        "h_vmem" | "s_vmem" | "mem_free" | "m_mem_free" | "virtual_free" | "h_rss" | "mem"
            if wish.reader == Reader::Native =>
        {
            wish.keep("l", Some(resource));
        }
        "h_vmem" | "s_vmem" | "mem_free" | "m_mem_free" | "virtual_free" | "h_rss" | "mem" => {
            let mem = wish.read(&arg, "an amount of memory", bytes).map(Memory::PerCore);
            // Where several are given, the largest is what the job was allowed.
            let size =
                |memory: Option<Memory>| if let Some(Memory::PerCore(bytes)) = memory { bytes } else { Bytes(0) };
            if size(mem) > size(wish.mem) {
                wish.mem = mem;
            }
        }
        "gpu" | "gpus" | "ngpus" | "cuda" if value.parse::<u32>().is_ok() => {
            wish.gpus = wish.count(&arg).map(Gpus::Total).or(wish.gpus);
        }
        name => {
            wish.keep("l", Some(resource));
            wish.warn(
                &arg,
                format!("the resource `{name}` has no counterpart in csync; it is kept for Grid Engine"),
                "see `l` in the workflow's table for Grid Engine; on this machine it changes nothing",
            );
        }
    }
}

/// `K`, `M`, `G` are powers of 1024, `k`, `m`, `g` powers of 1000, a plain number is bytes.
fn bytes(text: &str) -> Option<Bytes> {
    amounts::memory(Flavour::Sge, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::import::directive::{Region, split};
    use crate::model::units::Walltime;

    fn wish(lines: &str) -> Wish {
        let mut wish = Wish::default();
        for words in split(lines, "#$", Region::Anywhere).directives {
            apply(&mut wish, &words);
        }
        wish
    }

    #[test]
    fn slots_memory_time() {
        let wish = wish(
            "#$ -N sim -cwd -pe smp 8\n#$ -l h_vmem=4G,h_rt=1:00:00 -l hostname=node1\n#$ -q all.q -t 1-9:2 -tc 3\n",
        );
        let resources = wish.resources();
        assert_eq!((resources.cpus, resources.processes), (Some(8), None));
        assert_eq!((resources.mem, resources.time), (Some(Bytes::gib(32)), Some(Walltime(3600))));
        assert_eq!(wish.array.map(|array| (array.ids, array.limit)), Some((vec![1, 3, 5, 7, 9], Some(3))));
        assert_eq!(
            wish.raw,
            [
                ("cwd".to_owned(), None),
                ("pe".to_owned(), Some("smp 8".to_owned())),
                ("l".to_owned(), Some("hostname=node1".to_owned())),
            ]
        );
        assert_eq!(wish.notes.len(), 1);
    }

    #[test]
    fn a_parallel_environment_of_ranks() {
        let wish =
            wish("#$ -tc 5\n#$ -pe orte_rr 16-32 -t 1-2 -S /bin/bash -l mem_free=500m,h_vmem=1g -hold_jid prep\n");
        let resources = wish.resources();
        assert_eq!((resources.cpus, resources.processes), (Some(1), Some(16)));
        assert_eq!(resources.mem, Some(Bytes(16_000_000_000)));
        assert_eq!(wish.array.map(|array| array.limit), Some(Some(5)));
        assert_eq!(wish.notes.len(), 1);
    }
}
