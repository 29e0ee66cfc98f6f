//! `#PBS` lines: `OpenPBS`, PBS Pro and what Torque spells differently.

use crate::language::batch::amounts;
use crate::language::import::directive::Word;
use crate::language::import::wish::{Arg, Gpus, Memory, Reader, Wish, clock, variables};
use crate::model::batch::Flavour;
use crate::model::diagnostic::Span;
use crate::model::units::Bytes;

/// Options of `qsub` that take no value.
const FLAGS: &str = "fGhIVXzK";

/// Reads the words of one directive.
pub(super) fn apply(wish: &mut Wish, words: &[Word]) {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut chars = word.text.chars();
        let (Some('-'), Some(letter)) = (chars.next(), chars.next()) else {
            let message = format!("`{}` is not an option", word.text);
            wish.warn(
                &Arg { option: "", value: "", span: word.span },
                message,
                "remove it, or quote the value before it",
            );
            continue;
        };
        let (mut value, mut span) = (chars.as_str(), word.span);
        if value.is_empty()
            && !FLAGS.contains(letter)
            && let Some(next) = rest.next()
        {
            value = &next.text;
            span = Span { start: span.start, end: next.span.end };
        }
        set(wish, letter, &Arg { option: &format!("-{letter}"), value, span });
    }
}

fn set(wish: &mut Wish, letter: char, arg: &Arg<'_>) {
    let text = || Some(arg.value.to_owned()).filter(|text| !text.trim().is_empty());
    match letter {
        'N' => wish.name = text(),
        'A' => wish.account = text(),
        'q' => wish.partition = text(),
        'l' => arg.value.split(',').for_each(|resource| set_resource(wish, resource, arg)),
        'J' => wish.set_array(arg, "PBS_ARRAY_INDEX"),
        't' => wish.set_array(arg, "PBS_ARRAYID"),
        'd' | 'w' => wish.workdir = text(),
        'S' => wish.shell = text(),
        'v' => wish.env.extend(variables(arg.value)),
        'o' | 'e' | 'j' | 'k' => wish.log_files = wish.log_files.or(Some(arg.span)),
        'W' => arg.value.split(',').for_each(|attribute| set_attribute(wish, attribute, arg)),
        'm' | 'M' => wish.keep_native(&letter.to_string(), arg),
        // Chatter, and the environment: csync has its own way.
        'V' | 'z' | 'f' | 'K' | 'R' => {}
        'r' | 'p' => wish.keep(&letter.to_string(), Some(arg.value)),
        _ => keep(wish, &letter.to_string(), arg.value, arg),
    }
}

fn keep(wish: &mut Wish, name: &str, value: &str, arg: &Arg<'_>) {
    let what = format!("{} {value}", arg.option);
    wish.keep_for("PBS", name, value, &format!("`{}`", what.trim()), arg);
}

/// Reads one element of `-W`.
fn set_attribute(wish: &mut Wish, attribute: &str, arg: &Arg<'_>) {
    match attribute.split_once('=').unwrap_or((attribute, "")) {
        // Continues the list of an attribute such as `depend=afterok:1,afterany:2`.
        (name, _) if name.starts_with("after") || name.starts_with("before") => {}
        ("depend", _) if wish.reader == Reader::Native => wish.keep("W", Some(attribute)),
        ("depend", on) => wish.warn(
            arg,
            format!("the dependency `{on}` is not carried over"),
            "import both scripts into one workflow and write `needs = [\"...\"]`",
        ),
        ("block" | "umask", _) => {}
        _ => keep(wish, "W", attribute, arg),
    }
}

/// Reads one element of `-l`.
fn set_resource(wish: &mut Wish, resource: &str, arg: &Arg<'_>) {
    let (name, value) = resource.split_once('=').unwrap_or((resource, ""));
    let arg = Arg { value, ..arg.clone() };
    match name.trim() {
        "" => {}
        "select" => set_select(wish, &arg),
        "nodes" => set_nodes(wish, &arg),
        "walltime" => wish.time = wish.read(&arg, "a walltime of PBS", clock).or(wish.time),
        "ncpus" => wish.cpus = wish.count(&arg).or(wish.cpus),
        "procs" => wish.processes = wish.count(&arg).or(wish.processes),
        "mem" | "vmem" => {
            let mem = wish.read(&arg, "an amount of memory", bytes).map(Memory::Total);
            // Real memory says more than address space.
            if name == "mem" || wish.mem.is_none() {
                wish.mem = mem.or(wish.mem);
            }
        }
        "pmem" | "pvmem" => {
            let mem = wish.read(&arg, "an amount of memory", bytes).map(Memory::PerProcess);
            wish.mem = wish.mem.or(mem);
        }
        "ngpus" | "gpus" => wish.gpus = wish.count(&arg).map(Gpus::Total).or(wish.gpus),
        "file" | "scratch" | "scratch_local" => wish.disk = wish.read(&arg, "an amount of disk", bytes).or(wish.disk),
        name => wish.keep_for("PBS", "l", resource, &format!("the resource `{name}`"), &arg),
    }
}

/// Reads `N:ncpus=..:mpiprocs=..:mem=..:ngpus=..`; of several chunks the amounts are summed.
fn set_select(wish: &mut Wish, arg: &Arg<'_>) {
    let (mut nodes, mut ranks, mut cores, mut mem, mut gpus) = (0u32, 0u32, 0u32, None, 0u32);
    let mut odd = false;
    for chunk in arg.value.split('+') {
        let mut fields = chunk.split(':').peekable();
        let count = fields.next_if(|field| !field.contains('=')).map_or(Some(1), |field| field.trim().parse().ok());
        let count: u32 = count.unwrap_or(1).max(1);
        let (mut ncpus, mut mpiprocs) = (1u32, 1u32);
        for field in fields {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            match (name, value.parse::<u32>()) {
                ("ncpus", Ok(n)) => ncpus = n.max(1),
                ("mpiprocs", Ok(n)) => mpiprocs = n.max(1),
                ("ngpus", Ok(n)) => gpus = gpus.saturating_add(n.saturating_mul(count)),
                ("mem" | "vmem", _) => {
                    let amount = wish.read(&Arg { value, ..arg.clone() }, "an amount of memory", bytes);
                    let amount = amount.map(|amount| amount.0.saturating_mul(u64::from(count)));
                    mem = amount.map(|amount| amount.saturating_add(mem.unwrap_or(0))).or(mem);
                }
                ("ompthreads", _) => {}
                _ => odd = true,
            }
        }
        nodes = nodes.saturating_add(count);
        ranks = ranks.saturating_add(count.saturating_mul(mpiprocs));
        cores = cores.saturating_add(count.saturating_mul(ncpus));
    }
    wish.nodes = Some(nodes);
    wish.processes = Some(ranks);
    wish.cpus = Some((cores / ranks).max(1));
    wish.mem = mem.map(|amount| Memory::Total(Bytes(amount))).or(wish.mem);
    if gpus > 0 {
        wish.gpus = Some(Gpus::Total(gpus));
    }
    if odd || arg.value.contains('+') {
        wish.keep("l", Some(&format!("select={}", arg.value)));
        let message = "csync asks for one kind of chunk; this selection is kept for PBS as it is";
        wish.warn(arg, message, "see `l` in the workflow's table for PBS");
    }
}

/// Reads Torque's `N:ppn=P[:gpus=G]`. On one node `ppn` are the cores of one process, on several they are ranks.
fn set_nodes(wish: &mut Wish, arg: &Arg<'_>) {
    let mut fields = arg.value.split(':');
    let nodes: Option<u32> = fields.next().and_then(|field| field.trim().parse().ok()).filter(|&n| n > 0);
    let mut per_node = 1u32;
    let mut odd = nodes.is_none() || arg.value.contains('+');
    for field in fields {
        match field.split_once('=').map(|(name, value)| (name, value.parse::<u32>())) {
            Some(("ppn", Ok(n))) => per_node = n.max(1),
            Some(("gpus", Ok(n))) => wish.gpus = Some(Gpus::PerNode(n)),
            _ => odd = true,
        }
    }
    let nodes = nodes.unwrap_or(1);
    if nodes == 1 {
        wish.cpus = Some(per_node);
    } else {
        wish.nodes = Some(nodes);
        wish.processes = nodes.checked_mul(per_node);
        wish.cpus = Some(1);
    }
    if odd {
        wish.keep("l", Some(&format!("nodes={}", arg.value)));
        wish.warn(
            arg,
            "csync does not choose nodes by name; this is kept for PBS",
            "see `l` in the workflow's table for PBS",
        );
    }
}

/// `kb`, `mb`, ... are powers of 1024, a plain number is bytes, and `w` counts words of 8 bytes.
fn bytes(text: &str) -> Option<Bytes> {
    amounts::memory(Flavour::Pbs, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::import::directive::{Region, split};
    use crate::language::import::draft::Resources;
    use crate::model::units::Walltime;

    fn wish(lines: &str) -> Wish {
        let mut wish = Wish::default();
        for words in split(lines, "#PBS", Region::Head).directives {
            apply(&mut wish, &words);
        }
        wish
    }

    #[test]
    fn selections_and_nodes() {
        let base = Resources { cpus: Some(1), ..Resources::default() };
        for (line, expected) in [
            ("select=1:ncpus=8:mem=16gb", Resources { cpus: Some(8), mem: Some(Bytes::gib(16)), ..base.clone() }),
            (
                "select=2:ncpus=8:mpiprocs=8:mem=4gb:ngpus=1",
                Resources {
                    nodes: Some(2),
                    processes: Some(16),
                    mem: Some(Bytes::gib(8)),
                    gpus: Some(2),
                    ..base.clone()
                },
            ),
            ("select=2:ncpus=8", Resources { nodes: Some(2), processes: Some(2), cpus: Some(8), ..base.clone() }),
            ("nodes=1:ppn=8", Resources { cpus: Some(8), ..base.clone() }),
            (
                "nodes=2:ppn=4,mem=1gb",
                Resources { nodes: Some(2), processes: Some(8), mem: Some(Bytes::gib(1)), ..base.clone() },
            ),
            ("ncpus=4,walltime=48:00:00", Resources { cpus: Some(4), time: Some(Walltime(172_800)), ..base.clone() }),
            ("procs=6,pmem=2gb", Resources { processes: Some(6), mem: Some(Bytes::gib(12)), ..base.clone() }),
            ("vmem=8gb,mem=1500m", Resources { mem: Some(Bytes::mib(1500)), ..base.clone() }),
            ("mem=100mw", Resources { mem: Some(Bytes::mib(800)), ..base.clone() }),
            ("mem=1000", Resources { mem: Some(Bytes(1000)), ..base.clone() }),
        ] {
            let wish = wish(&format!("#PBS -l {line}\n"));
            assert_eq!(wish.resources(), expected, "{line}");
            assert_eq!(wish.notes, [], "{line}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_kept() {
        let wish = wish(
            "#PBS -l place=scatter:excl -lsoftware=x\n#PBS -W depend=afterok:1:2,afterany:3 -h\n#PBS -l select=1:ncpus=2+3:ncpus=1\n",
        );
        assert_eq!(
            wish.raw,
            [
                ("l".to_owned(), Some("place=scatter:excl,software=x,select=1:ncpus=2+3:ncpus=1".to_owned())),
                ("h".to_owned(), None),
            ]
        );
        assert_eq!(wish.notes.len(), 5);
        assert_eq!((wish.nodes, wish.ranks()), (Some(4), 4));
    }

    #[test]
    fn names_queues_arrays() {
        let wish = wish("#PBS -N job -q short -A proj\n#PBS -J 0-20:10%2 -v A=1 -j oe -V\n");
        assert_eq!(wish.name.as_deref(), Some("job"));
        assert_eq!(wish.partition.as_deref(), Some("short"));
        assert_eq!(wish.account.as_deref(), Some("proj"));
        assert_eq!(
            wish.array.map(|array| (array.ids, array.limit, array.variable)),
            Some((vec![0, 10, 20], Some(2), "PBS_ARRAY_INDEX"))
        );
        assert_eq!(wish.env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(wish.notes, []);
    }
}
