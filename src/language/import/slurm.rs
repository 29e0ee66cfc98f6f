//! `#SBATCH` lines.

use crate::language::import::directive::Word;
use crate::language::import::wish::{Arg, Gpus, Memory, Reader, Wish, variables};
use crate::model::diagnostic::Span;
use crate::model::units::{Bytes, Walltime};

/// Whether an option of `sbatch` takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    No,
    Yes,
    /// Only as `--option=value`.
    Attached,
}

/// Long and short name of the options that csync reads or that take no value; any other takes one.
const OPTIONS: &[(&str, char, Takes)] = &[
    ("account", 'A', Takes::Yes),
    ("array", 'a', Takes::Yes),
    ("begin", 'b', Takes::Yes),
    ("chdir", 'D', Takes::Yes),
    ("clusters", 'M', Takes::Yes),
    ("constraint", 'C', Takes::Yes),
    ("contiguous", '\0', Takes::No),
    ("core-spec", 'S', Takes::Yes),
    ("cpus-per-task", 'c', Takes::Yes),
    ("dependency", 'd', Takes::Yes),
    ("distribution", 'm', Takes::Yes),
    ("error", 'e', Takes::Yes),
    ("exclude", 'x', Takes::Yes),
    ("exclusive", '\0', Takes::Attached),
    ("extra-node-info", 'B', Takes::Yes),
    ("get-user-env", '\0', Takes::Attached),
    ("gpus", 'G', Takes::Yes),
    ("hold", 'H', Takes::No),
    ("ignore-pbs", '\0', Takes::No),
    ("input", 'i', Takes::Yes),
    ("job-name", 'J', Takes::Yes),
    ("licenses", 'L', Takes::Yes),
    ("nice", '\0', Takes::Attached),
    ("no-kill", 'k', Takes::Attached),
    ("no-requeue", '\0', Takes::No),
    ("nodefile", 'F', Takes::Yes),
    ("nodelist", 'w', Takes::Yes),
    ("nodes", 'N', Takes::Yes),
    ("ntasks", 'n', Takes::Yes),
    ("output", 'o', Takes::Yes),
    ("overcommit", 'O', Takes::No),
    ("oversubscribe", 's', Takes::No),
    ("parsable", '\0', Takes::Attached),
    ("partition", 'p', Takes::Yes),
    ("propagate", '\0', Takes::Attached),
    ("qos", 'q', Takes::Yes),
    ("quiet", 'Q', Takes::No),
    ("reboot", '\0', Takes::No),
    ("requeue", '\0', Takes::No),
    ("spread-job", '\0', Takes::No),
    ("test-only", '\0', Takes::No),
    ("time", 't', Takes::Yes),
    ("use-min-nodes", '\0', Takes::No),
    ("verbose", 'v', Takes::No),
    ("wait", 'W', Takes::No),
];

/// Reads the words of one directive.
pub(super) fn apply(wish: &mut Wish, words: &[Word]) {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some((option, attached)) = split(&word.text) else {
            let message = format!("`{}` is not an option", word.text);
            wish.warn(
                &Arg { option: "", value: "", span: word.span },
                message,
                "remove it, or quote the value before it",
            );
            continue;
        };
        let known = OPTIONS.iter().find(|(long, short, _)| match option.strip_prefix("--") {
            Some(name) => name == *long,
            None => option.chars().nth(1) == Some(*short),
        });
        let name = known.map_or_else(|| option.trim_start_matches('-').to_owned(), |(long, ..)| (*long).to_owned());
        let takes = known.map_or(Takes::Yes, |(.., takes)| *takes);
        let mut span = word.span;
        let value = match attached {
            Some(value) => value.to_owned(),
            None if takes == Takes::Yes => rest.next().map_or_else(String::new, |next| {
                span = Span { start: span.start, end: next.span.end };
                next.text.clone()
            }),
            None => String::new(),
        };
        set(wish, &name, &Arg { option, value: &value, span });
    }
}

/// Splits `--option=value`, `-c4` and their plain forms.
fn split(word: &str) -> Option<(&str, Option<&str>)> {
    if word.starts_with("--") {
        return Some(word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value))));
    }
    let end = 1 + word.strip_prefix('-')?.chars().next()?.len_utf8();
    let (option, value) = word.split_at_checked(end)?;
    Some((option, (!value.is_empty()).then(|| value.strip_prefix('=').unwrap_or(value))))
}

fn set(wish: &mut Wish, name: &str, arg: &Arg<'_>) {
    let text = || Some(arg.value.to_owned()).filter(|text| !text.trim().is_empty());
    match name {
        "job-name" => wish.name = text(),
        "account" => wish.account = text(),
        "partition" => wish.partition = text(),
        "qos" => wish.qos = text(),
        "constraint" => wish.constraint = text(),
        "chdir" => wish.workdir = text(),
        "input" if arg.value != "none" => wish.stdin = text(),
        "cpus-per-task" => wish.cpus = wish.count(arg).or(wish.cpus),
        "ntasks" => wish.processes = wish.count(arg).or(wish.processes),
        "ntasks-per-node" => wish.processes_per_node = wish.count(arg).or(wish.processes_per_node),
        "nodes" => set_nodes(wish, arg),
        "mem" | "mem-per-cpu" | "mem-per-gpu" => set_memory(wish, name, arg),
        "time" => set_time(wish, arg),
        "tmp" => wish.disk = wish.read(arg, "an amount of disk", megabytes).or(wish.disk),
        "gpus" | "gpus-per-node" | "gpus-per-task" | "gres" => set_gpus(wish, name, arg),
        "array" => wish.set_array(arg, "SLURM_ARRAY_TASK_ID"),
        "signal" => set_signal(wish, arg),
        "export" => set_export(wish, arg),
        "output" | "error" => wish.log_files = wish.log_files.or(Some(arg.span)),
        "dependency" if wish.reader != Reader::Native => wish.warn(
            arg,
            format!("the dependency on job {} is not carried over", arg.value),
            "import both scripts into one workflow and write `needs = [\"...\"]`",
        ),
        "mail-type" | "mail-user" => wish.keep_native(name, arg),
        // How `sbatch` itself talks: csync has its own.
        "input" | "parsable" | "quiet" | "verbose" | "wait" | "ignore-pbs" | "test-only" | "open-mode"
        | "get-user-env" => {}
        _ => wish.keep_for("Slurm", name, arg.value, &format!("`{}`", arg.option), arg),
    }
}

/// Reads `N` and `min-max`; more nodes than the least are of no use to know.
fn set_nodes(wish: &mut Wish, arg: &Arg<'_>) {
    let least = |text: &str| text.split(['-', ',']).next()?.trim().parse().ok().filter(|&n: &u32| n > 0);
    wish.nodes = wish.read(arg, "a number of nodes", least).or(wish.nodes);
}

fn set_memory(wish: &mut Wish, name: &str, arg: &Arg<'_>) {
    let Some(bytes) = wish.read(arg, "an amount of memory", megabytes) else { return };
    if bytes == Bytes(0) {
        wish.warn(arg, format!("`{}=0` means all memory of a node; it is left out", arg.option), "write `mem` by hand");
        return;
    }
    wish.mem = Some(match name {
        "mem-per-cpu" => Memory::PerCore(bytes),
        "mem-per-gpu" => Memory::PerGpu(bytes),
        _ => Memory::PerNode(bytes),
    });
}

/// Slurm counts memory and disk in MiB where no unit stands.
fn megabytes(text: &str) -> Option<Bytes> {
    let bytes: Bytes = text.parse().ok()?;
    if text.trim().ends_with(|c: char| c.is_ascii_digit()) {
        bytes.0.checked_mul(1 << 20).map(Bytes)
    } else {
        Some(bytes)
    }
}

fn set_time(wish: &mut Wish, arg: &Arg<'_>) {
    let unlimited = ["0", "infinite", "unlimited"].iter().any(|word| arg.value.eq_ignore_ascii_case(word));
    if !unlimited {
        wish.time = wish.read(arg, "a walltime of Slurm", slurm_time).or(wish.time);
    }
}

/// A plain number is minutes.
fn slurm_time(text: &str) -> Option<Walltime> {
    if let Ok(minutes) = text.parse::<u64>() {
        return minutes.checked_mul(60).map(Walltime);
    }
    let clock = text.contains(':') || text.contains('-');
    if clock { text.parse().ok().filter(|&time| time > Walltime(0)) } else { None }
}

/// Reads `2`, `a100:2`, and of `--gres` the parts that are GPUs.
fn set_gpus(wish: &mut Wish, name: &str, arg: &Arg<'_>) {
    let mut others = Vec::new();
    let mut typed = name != "gres" && arg.value.contains(':');
    let mut total = 0u32;
    for part in arg.value.split(',').filter(|part| !part.is_empty()) {
        let count = if name == "gres" {
            let (kind, count) = part.split_once(':').unwrap_or((part, "1"));
            if kind != "gpu" {
                others.push(part);
                continue;
            }
            typed |= count.contains(':') || count.parse::<u32>().is_err();
            count
        } else {
            part
        };
        // `gpu:a100` without a number is one.
        total = total.saturating_add(count.rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(1));
    }
    if wish.reader == Reader::Native && (typed || !others.is_empty()) {
        // Said once, as it stands: of two such options the last alone would count.
        wish.keep(name, Some(arg.value));
        wish.gpus = None;
        return;
    }
    if total > 0 {
        wish.gpus = Some(match name {
            "gpus" => Gpus::Total(total),
            "gpus-per-task" => Gpus::PerProcess(total),
            _ => Gpus::PerNode(total),
        });
    }
    if typed || !others.is_empty() {
        let kept = if typed { arg.value.to_owned() } else { others.join(",") };
        if wish.reader == Reader::Foreign {
            let help = "say with an option of that batch system which nodes it needs";
            wish.warn(arg, format!("csync counts GPUs only; `{kept}` is Slurm's alone and is left out"), help);
            return;
        }
        wish.keep(name, Some(&kept));
        wish.warn(
            arg,
            format!("csync counts GPUs only; `{kept}` is kept for Slurm"),
            format!("see `{name}` in the workflow's table for Slurm"),
        );
    }
}

/// Reads `[B:|R:]signal[@seconds]`.
fn set_signal(wish: &mut Wish, arg: &Arg<'_>) {
    let text = arg.value.rsplit_once(':').map_or(arg.value, |(_, text)| text);
    let (signal, before) = text.split_once('@').unwrap_or((text, "60"));
    let numbers = [("1", "HUP"), ("2", "INT"), ("10", "USR1"), ("12", "USR2"), ("15", "TERM")];
    let named = numbers.into_iter().find(|(number, _)| *number == signal).map(|(_, name)| name);
    let signal = named.unwrap_or_else(|| signal.trim_start_matches("SIG"));
    let valid = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "CONT", "ALRM", "XCPU"].contains(&signal);
    match before.parse() {
        Ok(before) if valid => wish.checkpoint = Some((signal.to_owned(), before)),
        _ => wish.warn(
            arg,
            format!("the signal `{}` is not understood; it is left out", arg.value),
            "write `checkpoint` by hand",
        ),
    }
}

fn set_export(wish: &mut Wish, arg: &Arg<'_>) {
    wish.env.extend(variables(arg.value));
    // What runs elsewhere begins with what a login gives there.
    if wish.reader == Reader::File && arg.value.split(',').any(|word| word == "NONE" || word == "NIL") {
        let help = "unset in the shell that submits what must not reach the task";
        wish.warn(arg, "csync hands over the submitter's environment; `--export=NONE` is left out", help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::import::directive::{Region, split as split_script};

    fn wish(lines: &str) -> Wish {
        let mut wish = Wish::default();
        for words in split_script(lines, "#SBATCH", Region::Head).directives {
            apply(&mut wish, &words);
        }
        wish
    }

    #[test]
    fn sizes_in_every_spelling() {
        for (line, expected) in [
            ("--mem=4000", Some(Memory::PerNode(Bytes::mib(4000)))),
            ("--mem 4G", Some(Memory::PerNode(Bytes::gib(4)))),
            ("--mem-per-cpu=2GB", Some(Memory::PerCore(Bytes::gib(2)))),
            ("--mem=0", None),
            ("--mem=lots", None),
        ] {
            assert_eq!(wish(&format!("#SBATCH {line}\n")).mem, expected, "{line}");
        }
        for (line, expected) in [
            ("-t 90", Some(5400)),
            ("--time=1:30", Some(90)),
            ("-t1-12", Some(129_600)),
            ("-t 02:00:00", Some(7200)),
            ("-t UNLIMITED", None),
            ("-t soon", None),
        ] {
            assert_eq!(wish(&format!("#SBATCH {line}\n")).time, expected.map(Walltime), "{line}");
        }
        for (line, expected) in [
            ("--gres=gpu:2", Some(Gpus::PerNode(2))),
            ("--gres=gpu", Some(Gpus::PerNode(1))),
            ("--gres=gpu:a100:4,license:1", Some(Gpus::PerNode(4))),
            ("-G 3", Some(Gpus::Total(3))),
            ("--gpus-per-task=v100:2", Some(Gpus::PerProcess(2))),
            ("--gres=lustre:1", None),
        ] {
            assert_eq!(wish(&format!("#SBATCH {line}\n")).gpus, expected, "{line}");
        }
    }

    #[test]
    fn short_long_and_attached_options() {
        let wish = wish(
            "#SBATCH -c4 -n 2 -N 1-3 -A proj -p a,b\n#SBATCH --qos=high -J 'my job' --exclusive --nice=5 -a 1-3%2\n",
        );
        assert_eq!((wish.cpus, wish.processes, wish.nodes), (Some(4), Some(2), Some(1)));
        assert_eq!(wish.account.as_deref(), Some("proj"));
        assert_eq!(wish.partition.as_deref(), Some("a,b"));
        assert_eq!(wish.name.as_deref(), Some("my job"));
        assert_eq!(wish.array.map(|array| (array.ids, array.limit)), Some((vec![1, 2, 3], Some(2))));
        assert_eq!(wish.raw, [("exclusive".to_owned(), None), ("nice".to_owned(), Some("5".to_owned()))]);
    }

    #[test]
    fn unknown_options_are_kept_and_told() {
        let wish = wish("#SBATCH --future-thing=7\n#SBATCH stray\n#SBATCH --signal=B:USR1@300\n");
        assert_eq!(wish.raw, [("future-thing".to_owned(), Some("7".to_owned()))]);
        assert_eq!(wish.checkpoint, Some(("USR1".to_owned(), 300)));
        let messages: Vec<_> = wish.notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(
            messages,
            ["`--future-thing` has no counterpart in csync; it is kept for Slurm", "`stray` is not an option"]
        );
    }
}
