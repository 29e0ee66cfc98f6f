//! Lines of bash that are made up: calls with every option that their programs have, in every construct of the shell, and with
//! letters put in and taken out. What each call means stands in its last word, for whoever judges what became of it.

use std::fmt::Write as _;

/// Numbers that look random and are the same every time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// Begins the word that says what a call means: where an `ssh` leads, what a submission asks for itself.
pub(crate) const MARK: &str = "@@";

const WORDS: &[&str] = &[
    "'a  b'",
    "\"c $A d\"",
    "e\\ f",
    "$B",
    "\"$(echo g)\"",
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
    "$'it\\'s'",
    "\"$A\"'$A'\\$A",
    "${B:+u v}",
    "${#A}",
    "\"${A//1/\\\"}\"",
    "[a-c]x",
    "\\\\",
    "'\\'",
    "\"'\"",
    "'\"'",
    "!",
    "{}",
    "%",
    "日本",
    "a\\\nb",
    "\"$(printf '%s' \"a b\")\"",
    "$(echo w x)",
    "`echo y`",
    "'|' ';' '&'",
    "\"#\"",
    "@(z)",
];

const VALUES: &[&str] = &["v", "'v w'", "\"$A\"", "1", "a=b", "\"x:y\"", "é", "v,w", "\\ ", "''", "-", "--"];

/// Flags of `ssh` that leave what it does to the remote command.
const SSH_FLAGS: &[&str] =
    &["4", "6", "A", "a", "C", "k", "n", "q", "T", "t", "v", "X", "x", "Y", "y", "f", "g", "K", "M"];
const SSH_VALUES: &[&str] = &["b", "B", "c", "e", "E", "i", "I", "l", "m", "p", "P"];
/// Options of `ssh` that say another way, or something else than a command: nothing is put in then.
const SSH_OTHERWISE: &[&str] =
    &["-J x", "-N", "-W a:1", "-F f", "-oProxyCommand=x", "-O exit", "-L 1:a:1", "-o ProxyJump=x", "-S s"];
const SSH_KEYWORDS: &[&str] = &[
    "BatchMode=yes",
    "ConnectTimeout=5",
    "'Port = 22'",
    "\"User ada\"",
    "StrictHostKeyChecking=no",
    "RequestTTY=no",
    "IdentityFile=~/k",
    "'LogLevel QUIET'",
];

/// Where an `ssh` of these leads, which stands in its mark.
const DESTINATIONS: &[(&str, &str)] = &[
    ("node17", "node17"),
    ("node17", "node17"),
    ("inner", "inner"),
    ("inner", "inner"),
    ("ada@node17", "node17"),
    ("'inner'", "inner"),
    ("\"node17\"", "node17"),
    ("no\\de17", "node17"),
    ("in'ne'r", "inner"),
    ("$'node17'", "node17"),
    ("ssh://ada@inner", "inner"),
    ("ssh://inner:22", "inner"),
    ("elsewhere", "elsewhere"),
    ("$A", "any"),
    ("\"$A\"", "any"),
    ("node{17,18}", "any"),
    ("$(echo inner)", "any"),
    ("ada@$B", "any"),
    ("node1?", "any"),
];

/// Options of Slurm: letter, name, whether they take a value, and what they ask for.
const SLURM: &[(&str, &str, Takes, &str)] = &[
    ("A", "account", Takes::Value, ""),
    ("b", "begin", Takes::Value, ""),
    ("", "comment", Takes::Value, ""),
    ("C", "constraint", Takes::Value, ""),
    ("", "contiguous", Takes::Nothing, ""),
    ("c", "cpus-per-task", Takes::Value, "cores"),
    ("d", "dependency", Takes::Value, ""),
    ("D", "chdir", Takes::Value, ""),
    ("e", "error", Takes::Value, ""),
    ("", "exclusive", Takes::Perhaps, "cores"),
    ("", "export", Takes::Value, ""),
    ("", "gpus", Takes::Value, ""),
    ("", "gres", Takes::Value, ""),
    ("H", "hold", Takes::Nothing, ""),
    ("i", "input", Takes::Value, ""),
    ("J", "job-name", Takes::Value, ""),
    ("L", "licenses", Takes::Value, ""),
    ("M", "clusters", Takes::Value, ""),
    ("", "mail-type", Takes::Value, ""),
    ("", "mem", Takes::Value, "memory"),
    ("", "mem-per-cpu", Takes::Value, "memory"),
    ("", "mem-per-gpu", Takes::Value, "memory"),
    ("", "mem-bind", Takes::Value, ""),
    ("", "mincpus", Takes::Value, "cores"),
    ("N", "nodes", Takes::Value, "cores"),
    ("n", "ntasks", Takes::Value, "cores"),
    ("", "ntasks-per-node", Takes::Value, "cores"),
    ("", "nice", Takes::Perhaps, ""),
    ("o", "output", Takes::Value, ""),
    ("O", "overcommit", Takes::Nothing, ""),
    ("s", "oversubscribe", Takes::Nothing, ""),
    ("p", "partition", Takes::Value, "partition"),
    ("q", "qos", Takes::Value, ""),
    ("Q", "quiet", Takes::Nothing, ""),
    ("", "reservation", Takes::Value, ""),
    ("t", "time", Takes::Value, "time"),
    ("", "time-min", Takes::Value, "time"),
    ("", "tmp", Takes::Value, ""),
    ("v", "verbose", Takes::Nothing, ""),
    ("w", "nodelist", Takes::Value, ""),
    ("x", "exclude", Takes::Value, ""),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    Perhaps,
}

const WRAPPERS: &[&str] = &[
    "timeout 9 ",
    "timeout -k 1 -s TERM 9s ",
    "timeout --foreground 9 ",
    "env A=3 ",
    "env -u B timeout -k 1 9 ",
    "env -- A=b ",
    "env A=$B ",
    "env B=\"$A\" ",
    "env C=${A:-x} D=\"${B}\" ",
    "timeout $T 9 ",
    "timeout \"${T:-9}\" ",
    "nice -n 3 ",
    "nice -3 ",
    "nice --adjustment=2 ",
    "nohup ",
    "command ",
    "time ",
    "time -p ",
    "stdbuf -oL ",
    "stdbuf --output=0 -e L ",
    "setsid -w ",
    "exec ",
    "sudo -n ",
    "sudo -u ada -g staff -- ",
    "xargs -n 1 ",
    "xargs -0 -I{} ",
    "ionice -c 3 ",
    "env -S 'A=1' ",
    "unknown ",
    "! ",
];

const REDIRECTS: &[&str] = &[
    " > out",
    " >> out",
    " 2>&1",
    " 2>/dev/null",
    " < in",
    " &> all",
    " &>>all",
    " >| out",
    " 2> err < in",
    " 2>&1 > out",
    " > out 2>&1",
    " >&2",
    " 3> three",
    " <<< \"u $A\"",
    " <<< v",
    " < in > out 2> err",
    " <> in",
    " {fd}> named",
];

/// A call, with what is in front of it and behind it.
pub(crate) fn simple(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.roll(12) == 0 {
        text.push_str(dice.pick(&["> out ", "< in ", "2>&1 "]));
    }
    if dice.roll(5) == 0 {
        text.push_str(dice.pick(&["A=1 ", "B='x y' ", "A=$B B=2 ", "A+=4 ", "A=\"$(echo 5)\" ", "A=(6) "]));
    }
    if dice.roll(4) == 0 {
        text.push_str(dice.pick(WRAPPERS));
    }
    match dice.roll(12) {
        0..5 => ssh(dice, &mut text),
        5..8 => slurm(dice, &mut text),
        8..10 => copy(dice, &mut text),
        _ => text.push_str(dice.pick(&[
            "echo",
            "hostname",
            "python x.py",
            "cat",
            "true",
            "false",
            "printf '%s\\n' a",
            "[ -n x ]",
            ":",
        ])),
    }
    for _ in 0..dice.roll(2) * dice.roll(3) {
        text.push_str(dice.pick(REDIRECTS));
    }
    if dice.roll(16) == 0 {
        text.push_str(" behind");
    }
    text
}

fn gap(dice: &mut Dice) -> &'static str {
    ["  ", "\t", " \\\n ", " ", " ", " ", " ", " "][dice.roll(8)]
}

fn words(dice: &mut Dice, text: &mut String, most: usize) {
    for _ in 0..dice.roll(most) {
        text.push_str(gap(dice));
        text.push_str(dice.pick(WORDS));
    }
}

fn ssh_options(dice: &mut Dice, text: &mut String) {
    for _ in 0..[0, 0, 0, 1, 1, 2, 4][dice.roll(7)] {
        text.push_str(gap(dice));
        match dice.roll(12) {
            0..5 => {
                text.push('-');
                (0..=dice.roll(3)).for_each(|_| text.push_str(dice.pick(SSH_FLAGS)));
                if dice.roll(4) == 0 {
                    let _ = write!(text, "{}{}", dice.pick(SSH_VALUES), dice.pick(&["", " "]));
                    text.push_str(dice.pick(VALUES));
                }
            }
            5..8 => {
                let _ = write!(text, "-{}{}{}", dice.pick(SSH_VALUES), dice.pick(&["", " ", "\t"]), dice.pick(VALUES));
            }
            8..11 => {
                let _ = write!(text, "-o{}{}", dice.pick(&["", " "]), dice.pick(SSH_KEYWORDS));
            }
            _ => text.push_str(dice.pick(SSH_OTHERWISE)),
        }
    }
}

fn ssh(dice: &mut Dice, text: &mut String) {
    text.push_str(dice.pick(&["ssh", "ssh", "ssh", "ssh", "s''sh", "\"ssh\"", "\\ssh", "'ssh'", "ss\"h\""]));
    ssh_options(dice, text);
    if dice.roll(12) == 0 {
        text.push_str(" --");
    }
    let (spelled, means) = DESTINATIONS[dice.roll(DESTINATIONS.len())];
    text.push_str(gap(dice));
    text.push_str(spelled);
    if dice.roll(5) == 0 {
        ssh_options(dice, text);
    }
    if dice.roll(8) == 0 {
        text.push_str(" --");
    }
    if dice.roll(3) > 0 {
        text.push_str(dice.pick(&[
            " ls",
            " python x.py",
            " 'cd x && python y.py'",
            " \"echo $A\"",
            " 'a; b | c'",
            " srun python",
        ]));
    } else if dice.roll(2) == 0 {
        text.push_str(" cat");
    }
    words(dice, text, 4);
    let _ = write!(text, " {MARK}{means}");
}

/// Operands of `scp` and its kin: how they are spelled, and which host they name.
const PLACES: &[(&str, &str)] = &[
    ("a", ""),
    ("'b c'", ""),
    ("./d:e", ""),
    ("*.none", ""),
    ("dir/", ""),
    ("node17:x", "node17"),
    ("node17:", "node17"),
    ("'node17:y z'", "node17"),
    ("node17:\"$A\"", "node17"),
    ("ada@inner:x", "inner"),
    ("inner:/p/", "inner"),
    ("inn\"er:\"q", "inner"),
    ("host:x", "any"),
    ("\"$A\"", "any"),
    ("$B", "any"),
    ("scp://inner/x", "any"),
    ("inner::module", "any"),
    ("{node17,inner}:x", "any"),
];

fn copy(dice: &mut Dice, text: &mut String) {
    let program = dice.pick(&["scp", "rsync", "sftp"]);
    text.push_str(program);
    let mut hosts: Vec<&str> = Vec::new();
    let (flags, values): (&[&str], &[&str]) = match program {
        "rsync" => (
            &["a", "v", "z", "n", "-delete", "-progress", "P", "rlt"],
            &["-exclude=", "-bwlimit ", "f", "T ", "-port="],
        ),
        _ => (&["4", "C", "p", "q", "r", "v"], &["i ", "l", "P ", "oBatchMode=", "c "]),
    };
    for _ in 0..dice.roll(3) {
        text.push_str(gap(dice));
        let _ = match dice.roll(8) {
            0..5 => write!(text, "-{}", dice.pick(flags)),
            // `-l''` is `-l`, and takes the next word for its value.
            5..7 => write!(text, "-{}{}", dice.pick(values), dice.pick(VALUES).replace("''", "v")),
            _ => {
                hosts.push("any");
                let otherwise: &[&str] = if program == "rsync" {
                    &["-e ssh", "--rsh='ssh -J x'", "-essh"]
                } else {
                    &["-J x", "-oProxyJump=x", "-F f", "-S s"]
                };
                write!(text, "{}", dice.pick(otherwise))
            }
        };
    }
    for at in 0..=1 + dice.roll(2) {
        let (spelled, means) = PLACES[dice.roll(PLACES.len())];
        // What stands alone is a host to `sftp`, and a file where it is to lie behind that.
        let (spelled, means) = if program == "sftp" && at == 0 {
            DESTINATIONS[dice.roll(4)]
        } else {
            (spelled, if program == "sftp" { "" } else { means })
        };
        text.push_str(gap(dice));
        text.push_str(spelled);
        hosts.push(means);
    }
    hosts.retain(|host| !host.is_empty());
    hosts.dedup();
    let means = if let [one] = hosts.as_slice() { one } else { "any" };
    let _ = write!(text, " {MARK}{means}");
}

fn slurm(dice: &mut Dice, text: &mut String) {
    let program = dice.pick(&["srun", "sbatch", "sbatch", "salloc"]);
    text.push_str(program);
    let mut asked: Vec<&str> = Vec::new();
    for _ in 0..[0, 0, 1, 2, 4][dice.roll(5)] {
        let (letter, name, takes, asks) = SLURM[dice.roll(SLURM.len())];
        text.push_str(gap(dice));
        let value = if name == "nodes" || name == "ntasks" { dice.pick(&["1", "2"]) } else { dice.pick(VALUES) };
        let _ = match (takes, dice.roll(3)) {
            (Takes::Nothing, 0) if !letter.is_empty() => write!(text, "-{letter}"),
            (Takes::Perhaps, 0) => write!(text, "--{name}=1"),
            (Takes::Nothing | Takes::Perhaps, _) => write!(text, "--{name}"),
            (Takes::Value, 0) if !letter.is_empty() && value != "''" => write!(text, "-{letter}{value}"),
            (Takes::Value, 1) if !letter.is_empty() => write!(text, "-{letter} {value}"),
            (Takes::Value, 2) => write!(text, "--{name} {value}"),
            (Takes::Value, _) => write!(text, "--{name}={value}"),
        };
        asked.push(asks);
        if name == "exclusive" || (matches!(name, "nodes" | "ntasks" | "ntasks-per-node") && value != "1") {
            asked.push("memory");
        }
    }
    if dice.roll(16) == 0 {
        text.push_str(" --");
    }
    let wrap = program == "sbatch" && dice.roll(2) == 0;
    text.push_str(match (program, wrap) {
        ("sbatch", true) => {
            dice.pick(&[" --wrap 'python x'", " --wrap=\"python x\"", " --wrap \"python $A\"", " --wrap 'a; python x'"])
        }
        ("sbatch", false) => dice.pick(&[" job.sh", " 'job.sh'", " ./job.sh", " $A", " job.sh a"]),
        _ => dice.pick(&[" python", " python x.py", " timeout 5 python x", " hostname", " $A", " bash -c 'python x'"]),
    });
    words(dice, text, 3);
    asked.retain(|asks| !asks.is_empty());
    asked.sort_unstable();
    asked.dedup();
    let _ = write!(text, " {MARK}{}", asked.join("+"));
}

/// A line: calls in constructs in constructs.
pub(crate) fn line(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return simple(dice);
    }
    let part = |dice: &mut Dice| line(dice, depth - 1);
    match dice.roll(38) {
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
        13 => format!("{} # then 'ssh node17", part(dice)),
        14 => format!("{} & wait", part(dice)),
        15 => {
            let quote = dice.pick(&["EOF", "'EOF'", "\"EOF\"", "\\EOF"]);
            format!("{} <<{quote}\nssh node17 $A 'w\nEOF\n{}", simple(dice), part(dice))
        }
        16 => format!("{} |& {}", part(dice), part(dice)),
        17 => format!("! {}", part(dice)),
        18 => format!("({}) > out 2>&1", part(dice)),
        19 => format!("{{ {}; }} < in | {}", part(dice), part(dice)),
        20 => format!("while read -r l; do {}; done < in", part(dice)),
        21 => format!("until {}; true; do break; done", part(dice)),
        22 => format!("for ((i = 0; i < 2; i++)); do {}; done", part(dice)),
        23 => format!(
            "if ! {}; then {}; elif {}; then :; else {}; fi",
            part(dice),
            part(dice),
            simple(dice),
            simple(dice)
        ),
        24 => format!("case $A in b | c) {} ;; *) {} ;; esac", part(dice), simple(dice)),
        25 => format!("function g {{ {}; }}\ng 1 2", part(dice)),
        26 => format!("[[ -n $A && a == a* ]] && {}", part(dice)),
        27 => format!("cat <({}) | sort", part(dice)),
        28 => format!("set -e; {}", part(dice)),
        29 => format!("# a comment 'with a quote\n{}", part(dice)),
        30 => format!("time {}", part(dice)),
        31 => format!("a=(x \"y z\"); {}", part(dice)),
        32 => format!("cat <<-EOF | {}\n\tssh inner \"x\n\tEOF\n", simple(dice)),
        33 => format!("bash -c '{}'", part(dice).replace('\'', "'\\''")),
        34 => format!("{} &&\n  {}", part(dice), part(dice)),
        35 => format!("((i = 1 + 2)); [ \"$i\" -gt 2 ] && {}", part(dice)),
        36 => format!("export A=1 C='x y'; {}", part(dice)),
        _ => simple(dice),
    }
}

/// Puts letters in and takes some out: most of what comes out is no line that anybody meant, and bash does something with it.
pub(crate) fn spoiled(dice: &mut Dice, line: &str) -> String {
    let mut letters: Vec<char> = line.chars().collect();
    for _ in 0..=dice.roll(2) {
        let at = dice.roll(letters.len() + 1);
        if dice.roll(3) == 0 && at < letters.len() {
            letters.remove(at);
        } else {
            let odd: Vec<char> = "'\"\\$`(){};&|<>#!*=\n\t[] -".chars().collect();
            letters.insert(at, odd[dice.roll(odd.len())]);
        }
    }
    letters.into_iter().collect()
}
