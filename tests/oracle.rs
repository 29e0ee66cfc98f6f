//! The judge of changed lines: the line as typed and the line as changed are run by bash, with programs in the place of `ssh` and
//! its kin that write down their arguments, environment and standard input. They must differ in the options that were put in, and
//! in nothing else.
//!
//! `CSYNC_ORACLE_LINES=100000` runs more lines than a test has time for, `CSYNC_ORACLE_FROM=250` begins behind those of a test.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use csync::decide::advise::{Facts, Found, HostFacts, Learned, Mode, PartitionFacts, Replica, Way, advise};
use csync::language::shell::read;
use csync::model::batch::Flavour;
use csync::model::units::{Bytes, Walltime};

use crate::lines::{Dice, MARK, line, spoiled};

/// Lines that are made up in a normal run.
const LINES: u64 = 250;

/// Writes down how it was called, in one write; what it prints is the same however it was called.
const STUB: &str = "#!/bin/sh
name=${0##*/}
call=$name
for word; do call=\"$call\u{1f}$word\"; done
call=\"$call\u{1e}A=$A B=$B\u{1e}\"
while IFS= read -r line || [ -n \"$line\" ]; do call=\"$call$line\u{1d}\"; done
printf '%s\u{1c}' \"$call\" >>\"$RECORD\"
echo \"out of $name\" 2>/dev/null
echo \"err of $name\" >&2
exit 0
";

/// A login node of `hpc`, whose compute nodes are reached through it from elsewhere; `inner` lies behind `gw`.
struct World;

impl World {
    fn hpc() -> Arc<HostFacts> {
        let partition = |name: &str, hours: u64, is_default| PartitionFacts {
            name: name.to_owned(),
            is_default,
            is_up: true,
            walltime_max: Some(Walltime(hours * 3600)),
            memory: Some(Bytes::gib(64)),
            cores: Some(8),
            gpus: false,
        };
        Arc::new(HostFacts {
            name: "hpc".to_owned(),
            batch: Some(Flavour::Slurm),
            light: true,
            partitions: vec![partition("short", 1, true), partition("long", 90, false)],
            ..HostFacts::default()
        })
    }
}

impl Facts for World {
    fn host(&self, name: &str) -> Option<Found> {
        let way = |jump: &str, host_name: Option<&str>| {
            Some(Way { jump: jump.to_owned(), host_name: host_name.map(str::to_owned), ..Way::default() })
        };
        let other = Arc::new(HostFacts { name: "lab".to_owned(), ..HostFacts::default() });
        match name {
            "node17" => Some(Found { host: other, way: way("gw,mid", None), is_node: true }),
            "inner" => Some(Found { host: other, way: way("gw", Some("10.0.0.9")), is_node: false }),
            "hpc" => Some(Found { host: Self::hpc(), way: None, is_node: false }),
            _ => None,
        }
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        Some(Self::hpc())
    }

    fn request(&self, words: &[&str], _host: &str, _cwd: Option<&str>) -> Option<Learned> {
        (words.first() == Some(&"python")).then(|| Learned {
            memory: Some(Bytes::gib(8)),
            walltime: Some(Walltime(7200)),
            cores: Some(4),
            source: "2 runs".to_owned(),
        })
    }

    fn replicas(&self, _path: &str, _host: &str) -> Vec<Replica> {
        Vec::new()
    }

    fn has_program(&self, _name: &str) -> bool {
        true
    }

    fn has_variable(&self, _prefix: &str) -> bool {
        false
    }

    fn batch_script(&self, _path: &str) -> Option<String> {
        Some("#!/bin/sh\n#SBATCH --mem=1G\npython train.py\n".to_owned())
    }
}

/// What came of a line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    calls: Vec<String>,
    out: String,
    err: String,
    code: Option<i32>,
}

/// Runs a line; `put_in` are the options that are taken out of the calls again, and `marked` whether marks say what calls mean.
fn run(dir: &Path, line: &str, put_in: &[Vec<String>], marked: bool) -> Ran {
    let (record, work) = (dir.join("record"), dir.join("work"));
    std::fs::write(&record, "").unwrap();
    for entry in std::fs::read_dir(&work).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::write(work.join("in"), "from a file\n").unwrap();
    // What a line leaves behind goes on: whoever is left holds this pipe open.
    let held = dir.join("held");
    let (gone, is_over) = mpsc::channel();
    let left = held.clone();
    std::thread::spawn(move || {
        drop(std::fs::File::open(left).and_then(|mut pipe| pipe.read_to_end(&mut Vec::new())));
        gone.send(()).ok();
    });
    // A pipe whose reader is gone would end its writer, or not, as it happens.
    let output = Command::new("sh")
        .args(["-c", "trap '' PIPE; exec 9>\"$2\"; exec timeout -k 1 4 bash -c \"$1\"", "sh", line])
        .arg(&held)
        .current_dir(&work)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", dir.join("bin").display()))
        .env("RECORD", &record)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    is_over.recv_timeout(Duration::from_secs(5)).ok();
    let record = std::fs::read_to_string(&record).unwrap();
    // What `time` measured may be what a command reads.
    let measured = |call: String| {
        if call.contains("real\t") { call.replace(|letter: char| letter.is_ascii_digit(), "") } else { call }
    };
    let calls = record.split_terminator('\u{1c}').map(|call| measured(strip(call, put_in, marked)));
    let mut calls: Vec<String> = calls.collect();
    let files = std::fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        calls.push(format!("{}: {}", path.file_name().unwrap().display(), comparable(&text, line)));
    }
    calls.sort();
    let text = |bytes: &[u8]| comparable(&String::from_utf8_lossy(bytes), line);
    Ran { calls, out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
}

/// Returns what must be the same every time: `time` says something else, what runs in the background speaks when it likes, and
/// bash shows the line that it was given.
fn comparable(text: &str, line: &str) -> String {
    let varies =
        ["real\t", "user\t", "sys\t", "real ", "user ", "sys ", "roken pipe", "I/O error", ": `", "ambiguous redirect"];
    let mut lines: Vec<&str> = text.lines().filter(|line| !varies.iter().any(|word| line.contains(word))).collect();
    lines.sort_unstable();
    // Where an error stands is not always the line that bash counts.
    let text = lines.join("\n").replace(line, "LINE");
    let mut parts = text.split("bash: line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "bash" + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

/// Takes the options out of a call that were put in, where they were meant for it.
fn strip(call: &str, put_in: &[Vec<String>], marked: bool) -> String {
    let (name, rest) = call.split_at(call.find(['\u{1f}', '\u{1e}']).unwrap());
    for words in put_in {
        let head = words.iter().fold(String::new(), |head, word| head + "\u{1f}" + word);
        if let Some(rest) = rest.strip_prefix(&head)
            && (!marked || is_meant(rest, words))
        {
            return format!("{name}{rest}");
        }
    }
    call.to_owned()
}

/// Says whether options fit what a call means, as its mark says; one without a mark fits.
fn is_meant(rest: &str, words: &[String]) -> bool {
    let arguments = rest.split('\u{1e}').next().unwrap().split('\u{1f}');
    let Some(mark) = arguments.filter_map(|word| word.strip_prefix(MARK)).next_back() else { return true };
    if words[0] == "-J" || words[0] == "-e" {
        let jump = words[1].strip_prefix("ssh -J ").unwrap_or(&words[1]).split(' ').next();
        return mark == if jump == Some("gw,mid") { "node17" } else { "inner" };
    }
    let asked: Vec<&str> = mark.split('+').collect();
    let kinds =
        [("--mem=", "memory"), ("--time=", "time"), ("--partition=", "partition"), ("--cpus-per-task=", "cores")];
    words.iter().all(|word| !kinds.iter().any(|(option, kind)| word.starts_with(option) && asked.contains(kind)))
}

fn bed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(dir.path().join("work")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("held")).status().unwrap().success());
    for name in [
        "ssh",
        "srun",
        "sbatch",
        "salloc",
        "python",
        "csync",
        "hostname",
        "scp",
        "rsync",
        "sftp",
        "git",
        "docker",
        "singularity",
        "sudo",
        "qsub",
    ] {
        let path = bin.join(name);
        std::fs::write(&path, STUB).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The program, not the shell's word: what it measures is never the same.
    let path = bin.join("time");
    std::fs::write(&path, "#!/bin/sh\n[ \"$1\" != -p ] || shift\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Returns the files that several commands of a line may write at the same time: what comes last in them is chance, and more
/// likely what the command wrote that was made longer. None where one of them is read again: then nothing is sure.
fn raced(line: &str) -> Option<Vec<&'static str>> {
    let stands = |file: &str, mark: char| {
        let behind = |at: usize| line[..at].trim_end().trim_end_matches('|').ends_with(mark);
        line.match_indices(file).filter(|(at, _)| behind(*at)).count()
    };
    let files: Vec<&str> =
        ["out", "err", "all"].into_iter().filter(|file| line.contains(['|', '&']) && stands(file, '>') > 1).collect();
    let read = files.iter().any(|file| line.matches(file).count() > stands(file, '>'));
    (!read).then_some(files)
}

/// Judges a line; returns whether it was changed, and what is wrong with that.
fn judge(dir: &Path, line: &str, marked: bool) -> Result<bool, String> {
    let verdict = advise(line, "/work", Mode::Rewrite, &World);
    let Some((changed, raced)) = verdict.rewritten.zip(raced(line)) else { return Ok(false) };
    // One may begin as another does: the longest is looked for first.
    let mut put_in: Vec<Vec<String>> = verdict.changes.iter().map(|splice| splice.with.clone()).collect();
    put_in.sort_by_key(|words| std::cmp::Reverse(words.len()));
    // What writes into a pipe that nobody reads fails, or does not: such a line does not do the same every time. A wrong change is
    // wrong every time.
    let run = |line: &str, put_in: &[Vec<String>]| {
        let mut ran = run(dir, line, put_in, marked);
        ran.calls.retain(|call| !raced.iter().any(|file| call.starts_with(&format!("{file}: "))));
        ran
    };
    // One that has no end, or says who it is, never does the same.
    let varies = |ran: &Ran| ran.code == Some(124) || line.contains("$$") || ran.out.contains("BASH_EXECUTION_STRING");
    let mut typed = Vec::new();
    let mut did = Ran::default();
    for _ in 0..5 {
        let ran = run(line, &[]);
        if varies(&ran) {
            return Ok(false);
        }
        typed.push(ran);
        did = run(&changed, &put_in);
        if typed.contains(&did) {
            break;
        }
    }
    if !typed.contains(&did) {
        return Err(format!("typed:   {line}\nchanged: {changed}\n  {typed:?}\n  {did:?}"));
    }
    let (old, new) = (read(line).unwrap(), read(&changed).unwrap());
    if old.commands.len() == new.commands.len() { Ok(true) } else { Err(format!("other commands: {changed}")) }
}

/// Makes a line up; one of four is spoiled, and its marks with it.
fn made_up(seed: u64) -> (String, bool) {
    let mut dice = Dice::new(seed);
    let depth = dice.roll(4);
    let text = line(&mut dice, depth);
    // What a letter more or less makes of a path is nothing to run.
    let marked = !text.contains("#p");
    if seed.is_multiple_of(4) && !text.contains('/') { (spoiled(&mut dice, &text), false) } else { (text, marked) }
}

/// Judges lines of a range on all cores; returns how many were changed, and what is wrong with them.
fn judge_all(from: u64, count: u64) -> (u64, Vec<String>) {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|own| {
                scope.spawn(move || {
                    let bed = bed();
                    let (mut changed, mut wrong) = (0, Vec::new());
                    for seed in (from..from + count).filter(|seed| seed % workers == own) {
                        let (line, marked) = made_up(seed);
                        match judge(bed.path(), &line, marked) {
                            Ok(was) => changed += u64::from(was),
                            Err(what) => wrong.push(format!("line {seed}: {what}")),
                        }
                        if count > 10_000 && seed.is_multiple_of(1_000) {
                            eprintln!("line {seed}");
                        }
                    }
                    (changed, wrong)
                })
            })
            .collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.fold((0, Vec::new()), |all, one| (all.0 + one.0, [all.1, one.1].concat()))
    })
}

#[test]
fn changed_lines_do_what_the_typed_ones_did() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("CSYNC_ORACLE_LINES").unwrap_or(LINES);
    let (changed, wrong) = judge_all(number("CSYNC_ORACLE_FROM").unwrap_or(0), count);
    eprintln!("{changed} of {count} lines were changed, {} of these otherwise than meant", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n"));
    assert!(changed > count / 10, "only {changed} of {count} lines were changed: the judge has nothing to judge");
}

#[test]
fn a_wrong_change_would_be_seen() {
    let bed = bed();
    let typed = "ssh node17 'a  b' < in | python x";
    let put_in = [vec!["-J".to_owned(), "gw".to_owned()]];
    let same = run(bed.path(), typed, &[], true);
    assert_eq!(run(bed.path(), "ssh -J gw node17 'a  b' < in | python x", &put_in, true), same);
    assert_eq!(same.calls.len(), 3, "two calls and a file: {:?}", same.calls);
    for wrong in [
        "ssh -J gw node17 a  b < in | python x",
        "ssh -J gw node17 'a b' < in | python x",
        "ssh -J gw node17 'a  b' | python x",
        "ssh -J other node17 'a  b' < in | python x",
        "ssh -J gw node17 'a  b' < in; python x",
        "A=1 ssh -J gw node17 'a  b' < in | python x",
        "ssh -J gw node17 'a  b' < in | python x > out",
    ] {
        assert_ne!(run(bed.path(), wrong, &put_in, true), same, "{wrong}");
    }
}
