//! The judge of changed lines: the line as typed and the line as changed are run by bash, with programs in the place of `ssh` and
//! its kin that write down their arguments, environment and standard input. They must differ in the options that were put in, and
//! in nothing else.
//!
//! `CSYNC_ORACLE_LINES=100000` runs more lines than a test has time for.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use csync::decide::advise::{Facts, Found, HostFacts, Learned, Mode, PartitionFacts, Replica, Way, advise};
use csync::language::shell::read;
use csync::model::batch::Flavour;
use csync::model::units::{Bytes, Walltime};

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
echo \"out of $name\"
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

    fn request(&self, words: &[&str]) -> Option<Learned> {
        (words.first() == Some(&"python")).then(|| Learned {
            memory: Some(Bytes::gib(8)),
            walltime: Some(Walltime(7200)),
            cores: Some(4),
            source: "2 runs".to_owned(),
        })
    }

    fn replicas(&self, _path: &str) -> Vec<Replica> {
        Vec::new()
    }

    fn has_program(&self, _name: &str) -> bool {
        true
    }

    fn batch_script(&self, _path: &str) -> Option<String> {
        Some("#!/bin/sh\n#SBATCH --mem=1G\npython train.py\n".to_owned())
    }
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    calls: Vec<String>,
    out: String,
    err: String,
    code: Option<i32>,
}

/// Runs a line; `put_in` are the options that are taken out of the calls again.
fn run(dir: &Path, line: &str, put_in: &[Vec<String>]) -> Ran {
    let (record, work) = (dir.join("record"), dir.join("work"));
    std::fs::write(&record, "").unwrap();
    for entry in std::fs::read_dir(&work).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::write(work.join("in"), "from a file\n").unwrap();
    // A pipe whose reader is gone would end its writer, or not, as it happens.
    let output = Command::new("sh")
        .args(["-c", "trap '' PIPE; exec bash -c \"$1\"", "sh", line])
        .current_dir(&work)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", dir.join("bin").display()))
        .env("RECORD", &record)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let record = std::fs::read_to_string(&record).unwrap();
    let mut calls: Vec<String> = record.split_terminator('\u{1c}').map(|call| strip(call, put_in)).collect();
    let files = std::fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.is_file()) {
        calls.push(format!(
            "{}: {}",
            path.file_name().unwrap().display(),
            String::from_utf8_lossy(&std::fs::read(&path).unwrap())
        ));
    }
    calls.sort();
    let mut err: Vec<String> = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    // `time` says something else every time; what runs in the background speaks when it likes.
    let varies = ["real\t", "user\t", "sys\t", "roken pipe", "I/O error"];
    err.retain(|line| !varies.iter().any(|word| line.contains(word)));
    err.sort();
    let mut out: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    out.sort();
    // Bash names the line that it was given.
    let err = err.join("\n").replace(line, "LINE");
    Ran { calls, out: out.join("\n"), err, code: output.status.code() }
}

fn strip(call: &str, put_in: &[Vec<String>]) -> String {
    let (name, rest) = call.split_at(call.find(['\u{1f}', '\u{1e}']).unwrap());
    for words in put_in {
        let head = words.iter().fold(String::new(), |head, word| head + "\u{1f}" + word);
        if let Some(rest) = rest.strip_prefix(&head) {
            return format!("{name}{rest}");
        }
    }
    call.to_owned()
}

fn bed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(dir.path().join("work")).unwrap();
    for name in [
        "ssh",
        "srun",
        "sbatch",
        "salloc",
        "python",
        "csync",
        "hostname",
        "scp",
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
    std::fs::write(&path, "#!/bin/sh\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Judges a line; returns whether it was changed.
fn judge(dir: &Path, line: &str) -> bool {
    let verdict = advise(line, "/work", Mode::Rewrite, &World);
    let Some(changed) = verdict.rewritten else { return false };
    let put_in: Vec<Vec<String>> = verdict
        .advice
        .iter()
        .filter_map(|piece| piece.change.as_ref())
        .map(|(_, splice)| splice.with.clone())
        .collect();
    // What writes into a pipe that nobody reads fails, or does not: such a line does not do the same every time. A wrong change is
    // wrong every time.
    let mut ran = (run(dir, line, &[]), run(dir, &changed, &put_in));
    for _ in 0..4 {
        if ran.0 != ran.1 {
            ran = (run(dir, line, &[]), run(dir, &changed, &put_in));
        }
    }
    assert_eq!(ran.0, ran.1, "typed:   {line}\nchanged: {changed}");
    let (old, new) = (read(line).unwrap(), read(&changed).unwrap());
    assert_eq!(old.commands.len(), new.commands.len(), "{changed}");
    true
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const WORDS: &[&str] = &[
    "'a  b'",
    "\"c $A d\"",
    "e\\ f",
    "$B",
    "\"$(echo g)\"",
    "--",
    "-x",
    "h=i",
    "'it'\\''s'",
    "é",
    "\"\\$j\"",
    "$'k\\tl'",
    "*.none",
    "~",
    "{m,n}",
    "\"`echo o`\"",
    "#p",
    "'#q'",
    "r#s",
    "''",
    "\"${A:-t}\"",
    "$((1+2))",
];

fn simple(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.roll(5) == 0 {
        text.push_str(dice.pick(&["A=1 ", "B='x y' ", "A=$B B=2 "]));
    }
    if dice.roll(5) == 0 {
        text.push_str(dice.pick(&[
            "timeout 9 ",
            "env A=3 ",
            "nice -n 3 ",
            "nohup ",
            "command ",
            "env -u B timeout -k 1 9 ",
            "time ",
        ]));
    }
    text.push_str(dice.pick(&[
        "ssh node17",
        "ssh inner",
        "ssh ada@node17",
        "ssh -v node17",
        "ssh -p 22 inner",
        "ssh -o BatchMode=yes node17",
        "s''sh node17",
        "ssh 'node17'",
        "ssh  \\\n  node17",
        "ssh -J x node17",
        "ssh elsewhere",
        "srun python",
        "srun -n 2 python",
        "srun --mem=1G python",
        "sbatch job.sh",
        "sbatch -p long job.sh",
        "echo",
        "hostname",
        "ssh $A",
        "\"ssh\" node17",
        "python",
        "ssh node17 --",
        "sbatch --wrap 'python x'",
    ]));
    for _ in 0..dice.roll(4) {
        text.push(' ');
        text.push_str(dice.pick(WORDS));
    }
    match dice.roll(8) {
        0 => text.push_str(dice.pick(&[
            " > out",
            " >> out",
            " 2>&1",
            " 2>/dev/null",
            " < in",
            " &> all",
            " 2> err < in",
        ])),
        1 => text.push_str(dice.pick(&[" <<< \"u $A\"", " <<< v"])),
        _ => {}
    }
    text
}

fn line(dice: &mut Dice, depth: u32) -> String {
    if depth == 0 {
        return simple(dice);
    }
    let part = |dice: &mut Dice| line(dice, depth - 1);
    match dice.roll(17) {
        0 => format!("{} | {}", part(dice), part(dice)),
        1 => format!("{} && {}", part(dice), part(dice)),
        2 => format!("{} || {}", part(dice), part(dice)),
        3 => format!("{}; {}", part(dice), part(dice)),
        4 => format!("{}\n{}", part(dice), part(dice)),
        5 => format!("({})", part(dice)),
        6 => format!("{{ {}; }}", part(dice)),
        7 => format!("if {}; then {}; fi", part(dice), part(dice)),
        8 => format!("for i in 1 2; do {}; done", part(dice)),
        9 => format!("x=$({})", part(dice)),
        10 => format!("echo \"$({})\"", part(dice)),
        11 => format!("case a in a) {};; esac", part(dice)),
        12 => format!("f() {{ {}; }}; f", part(dice)),
        13 => format!("{} # then ssh node17", part(dice)),
        14 => format!("{} & wait", part(dice)),
        15 => {
            let mut text = simple(dice);
            let quote = dice.pick(&["EOF", "'EOF'"]);
            let _ = write!(text, " <<{quote}\nssh node17 $A 'w\nEOF\n");
            text
        }
        _ => simple(dice),
    }
}

#[test]
fn changed_lines_do_what_the_typed_ones_did() {
    let bed = bed();
    let count = std::env::var("CSYNC_ORACLE_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES);
    let mut changed = 0;
    for seed in 0..count {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        let depth = u32::try_from(dice.roll(4)).unwrap();
        let text = line(&mut dice, depth);
        changed += u64::from(judge(bed.path(), &text));
    }
    eprintln!("{changed} of {count} lines were changed");
    assert!(changed > count / 8, "only {changed} of {count} lines were changed: the judge has nothing to judge");
}

#[test]
fn a_wrong_change_would_be_seen() {
    let bed = bed();
    let typed = "ssh node17 'a  b' < in | python x";
    let put_in = [vec!["-J".to_owned(), "gw".to_owned()]];
    let same = run(bed.path(), typed, &[]);
    assert_eq!(run(bed.path(), "ssh -J gw node17 'a  b' < in | python x", &put_in), same);
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
        assert_ne!(run(bed.path(), wrong, &put_in), same, "{wrong}");
    }
}
