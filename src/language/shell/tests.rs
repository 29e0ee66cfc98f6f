//! What lines are read as, and that edits change nothing else.

use proptest::prelude::*;

use super::*;

fn heads(text: &str) -> Option<Vec<String>> {
    let script = read(text)?;
    Some(script.commands.iter().map(|command| command.words[0].text.clone()).collect())
}

#[test]
fn every_simple_command_of_the_set_is_found() {
    let set = include_str!("../../../tests/replies/hook/tricky.jsonl");
    let mut count = 0;
    for line in set.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let command = entry["command"].as_str().unwrap();
        let expected: Vec<String> = serde_json::from_value(entry["simple_command_heads"].clone()).unwrap();
        assert_eq!(heads(command).as_ref(), Some(&expected), "{}: {command}", entry["id"]);
        count += 1;
    }
    assert!(count > 50, "{count} lines");
}

#[test]
fn words_mean_what_bash_makes_of_them() {
    let cases: [(&str, &[(&str, Means)]); 13] = [
        (
            "ssh a\\ b 's''x' \"y z\"",
            &[("ssh", Means::Itself), ("a b", Means::Itself), ("sx", Means::Itself), ("y z", Means::Itself)],
        ),
        ("e \"a$b c\"", &[("e", Means::Itself), ("a", Means::OneWord)]),
        ("e a$b", &[("e", Means::Itself), ("a", Means::AnyWords)]),
        ("e *.rs x?", &[("e", Means::Itself), ("", Means::AnyWords), ("x", Means::AnyWords)]),
        ("e {} {a,b} [", &[("e", Means::Itself), ("{}", Means::Itself), ("", Means::AnyWords), ("[", Means::Itself)]),
        ("e ~/x \\~ '~'", &[("e", Means::Itself), ("~", Means::OneWord), ("~", Means::Itself), ("~", Means::Itself)]),
        ("e $'a\\tb' a$", &[("e", Means::Itself), ("a\tb", Means::Itself), ("a$", Means::Itself)]),
        ("e \"\\$x \\n\" '\\'", &[("e", Means::Itself), ("$x \\n", Means::Itself), ("\\", Means::Itself)]),
        ("e \"$@\"", &[("e", Means::Itself), ("", Means::AnyWords)]),
        ("e \"$(f \")\")\"", &[("e", Means::Itself), ("", Means::OneWord)]),
        ("e -J\"$h\"", &[("e", Means::Itself), ("-J", Means::OneWord)]),
        ("e <(f)", &[("e", Means::Itself), ("", Means::OneWord)]),
        ("e é„x\"ü\"", &[("e", Means::Itself), ("é„xü", Means::Itself)]),
    ];
    for (text, expected) in cases {
        let script = read(text).unwrap_or_else(|| panic!("{text}"));
        let first = &script.commands[0];
        let found: Vec<(&str, Means)> = first.words.iter().map(|word| (word.text.as_str(), word.means)).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_not_read() {
    for text in [
        "ssh h (",
        "echo 'a",
        "ssh $ h",
        "e a\\\nb",
        "if x; then",
        "e $\"a\"",
        "e $'\\x41'",
        "ssh h <<EOF -v\nx\nEOF",
        "a\u{1}b",
        "a\r\n",
    ] {
        assert_eq!(heads(text), None, "{text}");
    }
    assert_eq!(heads(&"x ".repeat(LONGEST)), None);
    assert_eq!(heads(&"(".repeat(5_000)), None);
    assert_eq!(heads(&format!("{}ls{}", "( ".repeat(500), " )".repeat(500))), None, "too deep");
    assert_eq!(heads("").unwrap(), Vec::<String>::new());
}

#[test]
fn commands_know_where_they_stand() {
    let stands = |text: &str, at: usize| read(text).unwrap_or_else(|| panic!("{text}")).commands[at].stands;
    assert_eq!(stands("a | b", 0).output, Output::Pipe);
    assert_eq!(stands("a | b", 1).input, Input::Pipe);
    assert_eq!(stands("x=$(a)", 0).output, Output::Captured);
    assert_eq!(stands("x=$(a | b)", 1).output, Output::Captured);
    assert_eq!(stands("a > f", 0).output, Output::File);
    assert_eq!(stands("a 2>&1", 0).output, Output::Inherited);
    assert_eq!(stands("a < f", 0).input, Input::File);
    assert_eq!(stands("a <<< x", 0).input, Input::Here);
    assert_eq!(stands("a <<EOF\n$(b)\nEOF", 0).input, Input::Here);
    assert!(stands("a <<EOF\n$(b)\nEOF", 1).in_heredoc);
    assert_eq!(stands("a <<EOF | b\nx\nEOF", 0).output, Output::Pipe);
    assert_eq!(stands("a <<EOF | b\nx\nEOF", 1).input, Input::Pipe);
    let both = "a > f <<EOF && b\n$(c)\nEOF\nd";
    assert_eq!((stands(both, 0).output, stands(both, 1).input), (Output::File, Input::Inherited));
    assert!(stands(both, 1).conditional && stands(both, 2).in_heredoc && !stands(both, 3).conditional);
    assert_eq!(stands("a <<EOF > f 2>&1\nx\nEOF", 0).output, Output::File);
    assert!(stands("a && b", 1).conditional && !stands("a && b", 0).conditional);
    assert!(stands("a &", 0).apart && stands("(a)", 0).apart);
    assert!(stands("f() { a; }", 0).in_function);
    assert!(stands("e \"$(a)\"", 1).substituted && !stands("e \"$(a)\"", 0).substituted);
    assert_eq!(stands("for i in 1; do while a; do b; done; done", 1).in_loop, Some(1));
    assert_eq!(stands("{ a; } > f", 0).output, Output::File);
    let script = read("for i in 1; do while a; do b; done; done").unwrap();
    assert!(script.is_within(&script.commands[1], 0) && script.is_within(&script.commands[1], 1));
    assert_eq!(read("f() { a; }; alias b=c d='e f'; b").unwrap().defines, ["f", "b", "d"]);
    let script = read("A=1 B=$x ssh h 2>/dev/null ls -la").unwrap();
    assert_eq!(script.commands[0].assigns, ["A", "B"]);
    assert_eq!(
        script.commands[0].words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(),
        ["ssh", "h", "ls", "-la"]
    );
}

#[test]
fn ssh_is_read_as_openssh_reads_it() {
    let cases = [
        ("ssh -i key.pem user@host 'rm -rf /var/log'", Some(("user@host", Some("rm -rf /var/log")))),
        ("ssh -J u@b username@SERVER -p22", Some(("username@SERVER", None))),
        ("ssh h -- ls -la", Some(("h", Some("ls -la")))),
        ("ssh -vvv4Ap2222 h ls", Some(("h", Some("ls")))),
        ("ssh -- h -v", Some(("h", Some("-v")))),
        ("ssh h -v ls -p", Some(("h", Some("ls -p")))),
        ("/usr/bin/ssh -oProxyJump=x h", Some(("h", None))),
        ("ssh a ssh b 'hostname; date'", Some(("a", Some("ssh b hostname; date")))),
        ("ssh $h ls", None),
        ("ssh -p $p h", None),
        ("ssh -Z h", None),
        ("ssh", None),
        ("ssh -p", None),
    ];
    for (text, expected) in cases {
        let script = read(text).unwrap();
        let words = &script.commands[0].words;
        let found = ssh(words, 0).map(|ssh| (words[ssh.destination].text.clone(), ssh.remote(words)));
        let expected = expected.map(|(to, remote)| (to.to_owned(), remote.map(str::to_owned)));
        assert_eq!(found, expected, "{text}");
    }
    let script = read("ssh h rm \"$x\"").unwrap();
    let read = ssh(&script.commands[0].words, 0).unwrap();
    assert_eq!((read.call.command, read.remote(&script.commands[0].words)), (Some(2), None));
}

/// Program, options, operands, command of the first command of a text.
fn shown(text: &str) -> Option<String> {
    let script = read(text)?;
    let words = &script.commands[0].words;
    let head = unwrap(words)?.head;
    let call = call(words, head)?;
    let options: Vec<String> = call
        .options
        .iter()
        .map(|option| option.value.map_or_else(|| option.name.to_owned(), |value| format!("{}={value}", option.name)))
        .collect();
    let operands: Vec<&str> = call.operands.iter().map(|at| words[*at].text.as_str()).collect();
    let command = call.command.map_or("-", |at| words[at].text.as_str());
    Some(format!("{} [{}] [{}] {command}", call.program, options.join(" "), operands.join(" ")))
}

#[test]
fn calls_are_read_by_their_tables() {
    let cases = [
        ("srun -n4 --mem=8G -c 2 python x.py -n 3", Some("srun [ntasks=4 mem=8G cpus-per-task=2] [] python")),
        ("srun --overlap --jobid=29 --pty top -d 5", Some("srun [overlap jobid=29 pty] [] top")),
        ("srun --exclusive ls", Some("srun [exclusive] [] ls")),
        ("sbatch --wrap=\"a $(pwd)\"", Some("sbatch [wrap=a ] [] -")),
        ("sbatch -p gpu --time 1:00 job.sh x", Some("sbatch [partition=gpu time=1:00] [] job.sh")),
        ("sbatch $OPTS job.sh", None),
        ("sbatch --no-such job.sh", None),
        ("salloc -N1 --no-shell", Some("salloc [nodes=1 no-shell] [] -")),
        (
            "qsub -l select=1:ncpus=4:mem=8gb -- /bin/bash -c 'echo hi'",
            Some("qsub [l=select=1:ncpus=4:mem=8gb] [] /bin/bash"),
        ),
        ("qsub -cwd -pe smp 4 -l h_vmem=4G -b y sleep 1", Some("qsub [cwd pe=smp l=h_vmem=4G b=y] [] sleep")),
        ("qsub -lnodes=1:ppn=2 job.sh", Some("qsub [l=nodes=1:ppn=2] [] job.sh")),
        ("bsub -q long -n 4 -R 'rusage[mem=8]' ./a.out", Some("bsub [q=long n=4 R=rusage[mem=8]] [] ./a.out")),
        ("scp -r backup/ root@server:/", Some("scp [r] [backup/ root@server:/] -")),
        ("scp -3 hostA:/a hostB:/b", Some("scp [3] [hostA:/a hostB:/b] -")),
        ("rsync --delete --dry-run src/ dest/", Some("rsync [delete dry-run] [src/ dest/] -")),
        (
            "rsync -avz -e 'ssh -p 2' a h:b --progress",
            Some("rsync [archive verbose compress rsh=ssh -p 2 progress] [a h:b] -"),
        ),
        (
            "docker run --rm -v \"$PWD\":/w -w /w -e A='x y' --gpus '\"device=0,1\"' img:tag sh -c 'make'",
            Some("docker [rm volume= workdir=/w env=A=x y gpus=\"device=0,1\"] [run img:tag] sh"),
        ),
        ("podman container exec -it c ls", Some("podman [interactive tty] [exec c] ls")),
        ("docker ps", None),
        (
            "singularity exec --nv -B /data:/data,/s:/s img.sif bash -c 'x'",
            Some("singularity [nv bind=/data:/data,/s:/s] [exec img.sif] bash"),
        ),
        ("sudo -u root timeout -k 5 10 nice -n 5 srun -n 2 x", Some("srun [ntasks=2] [] x")),
        ("env -u A B=1 nohup sftp -b f h", Some("sftp [b=f] [h] -")),
        ("env -S 'srun x'", None),
        ("sudo -i srun x", None),
        ("time srun x", Some("srun [] [] x")),
        ("find . | xargs -n1 srun x", None),
        ("parallel srun {} ::: a b", Some("srun [] [] {}")),
        ("parallel -S h srun {} ::: a b", None),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn shells_and_places() {
    let inner = |text: &str| {
        let words = &read(text).unwrap().commands[0].words;
        inner_script(words).map(|inner| inner.shown().to_owned())
    };
    assert_eq!(inner("bash -lc 'a b' x"), Some("a b".to_owned()));
    assert_eq!(inner("sh -euo pipefail -c 'a'"), Some("a".to_owned()));
    assert_eq!(inner("bash -c \"cd ${x} && a `b` \\$d\""), Some("cd ${x} && a $_ $d".to_owned()));
    assert_eq!(inner("bash -c \"a $(b c) ${#d}\""), Some("a $_ $_".to_owned()));
    assert_eq!(inner("bash -c \"$e/a *.b ${f:-g}\""), Some("$e/a *.b $_".to_owned()));
    for text in ["bash x.sh", "bash -c $x", "bash -c \"$@\"", "bash -c -e x", "bash -ce x", "python -c x"] {
        assert_eq!(inner(text), None, "{text}");
    }
    assert_eq!(place("u@h:/a:b"), Place::There { user: Some("u"), host: "h", path: "/a:b" });
    assert_eq!(place("h::m/x"), Place::There { user: None, host: "h", path: "m/x" });
    assert_eq!(place("[fe80::1]:x"), Place::There { user: None, host: "fe80::1", path: "x" });
    assert_eq!(place("./a:b"), Place::Here("./a:b"));
    assert_eq!(place("a"), Place::Here("a"));
    assert_eq!(words("a 'b c' \"d\"").unwrap().len(), 3);
    assert_eq!(words("a 'b"), None);
    assert_eq!(words("a; b"), None);
}

fn insert(command: usize, at: usize, with: &[&str]) -> Splice {
    Splice { command, words: at..at, with: with.iter().map(|word| (*word).to_owned()).collect() }
}

#[test]
fn edits_touch_their_words_alone() {
    let edited = |text: &str, splices: &[Splice]| rewrite(&read(text).unwrap(), splices).unwrap();
    let jump = insert(0, 1, &["-J", "gw"]);
    for (before, after) in [
        ("ssh h 'a  b' # c", "ssh -J gw h 'a  b' # c"),
        ("ssh  h \\\n ls", "ssh -J gw  h \\\n ls"),
        ("ssh h << EOF\n  ssh h $HOME\nEOF", "ssh -J gw h << EOF\n  ssh h $HOME\nEOF"),
        ("ssh h > f <<EOF && ssh g\nx\nEOF", "ssh -J gw h > f <<EOF && ssh g\nx\nEOF"),
        ("A=1 ssh h 2>&1 | tee x", "A=1 ssh -J gw h 2>&1 | tee x"),
    ] {
        assert_eq!(edited(before, std::slice::from_ref(&jump)), after);
    }
    let second = Splice { command: 1, words: 0..2, with: vec!["csync".to_owned(), "it's".to_owned()] };
    assert_eq!(
        edited("ssh a x & ssh  b 'y z' & wait", &[jump, second]),
        "ssh -J gw a x & csync 'it'\\''s' 'y z' & wait"
    );
}

#[test]
fn edits_that_would_read_otherwise_are_refused() {
    let refused = |text: &str, splice: Splice| rewrite(&read(text).unwrap(), &[splice]).unwrap_err();
    let gone = |words| Splice { command: 0, words, with: vec!["x".to_owned()] };
    assert_eq!(refused("ssh h 2>x ls", gone(1..3)), Refused::Between);
    assert_eq!(refused("ssh h", gone(1..4)), Refused::NoWords);
    assert_eq!(refused("x=$(ssh h)", insert(0, 1, &["-J"])), Refused::Inside);
    assert_eq!(refused("ssh h", insert(0, 0, &["a"])), Refused::NoWords);
    assert_eq!(refused("ssh h", insert(1, 1, &["a"])), Refused::NoWords);
    let script = read("ssh h").unwrap();
    assert_eq!(rewrite(&script, &[insert(0, 1, &["a"]), insert(0, 1, &["b"])]), Err(Refused::Meet));
    assert_eq!(rewrite(&script, &[gone(0..2), gone(1..2)]), Err(Refused::Meet));
}

/// Pieces that lines are made of.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "ssh h",
        "ls -la",
        "'a b'",
        "\"$x y\"",
        "$(ls)",
        "`id`",
        " | ",
        " && ",
        "; ",
        "\n",
        " & ",
        "(",
        ")",
        "{ ",
        "; }",
        "<<EOF\n",
        "\nEOF\n",
        " > f",
        " 2>&1",
        "for i in a; do ",
        "; done",
        "if a; then ",
        "; fi",
        "# c",
        "\\\n",
        "é",
        "$'\\n'",
        "~",
        "*",
        "=",
        "A=1 ",
        "<(ls)",
        "-J",
        "time ",
        "! ",
        "case x in a) ",
        ";; esac",
        "\\",
        "'",
        "\"",
        "$",
        "${x:-\"}\"}",
        "[[ a ]]",
        "srun -n 1 x",
    ];
    prop_oneof![proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned), "[ -~]{0,6}"]
}

/// What the two readers took for different words once.
#[test]
fn where_the_grammar_and_bash_differ_nothing_is_read() {
    for line in [
        "sbatch -D \\  --mincpus=1 job.sh",
        "salloc -b \\  \\\n --exclusive python x",
        "srun --nodelist \\ \\\n -n2 x",
        "A=(6)\\ssh -T h",
        "sbatch <<EOF\nx\nEOF\t\nssh h\n",
        "sbatch <<\"EOF\"\nx\nEOF \nssh h\nEOF\n",
        "sbatch <<EOF\nx\n EOF\nssh h\n",
        "sbatch <<EOF\nx\n\tEOF\nssh h\n",
    ] {
        assert_eq!(read(line), None, "{line}");
    }
    for line in [
        "a <<EOF\nx\nEOF\nssh h",
        "a <<'E F'\nx\nE F\nssh h",
        "a <<\\EOF | b\nx\nEOF",
        "a <<-EOF\n\tx\n\tEOF\nssh h",
        "a 3<<EOF\n\nEOF\n",
    ] {
        assert!(read(line).is_some(), "{line}");
    }
    for line in ["ssh h a\\ b", "ssh h \\\\ x", "ssh \\\n h", "A=(6) ssh h", "ssh h a#b '#c'"] {
        assert!(read(line).is_some(), "{line}");
    }
}

/// The grammar reads beyond its tables for letters like these, and that ends the process or not, as it happens.
#[test]
fn letters_of_every_script_are_read() {
    for line in [
        "ssh h 日本 é '🚀'",
        "echo 🚀 > 🦀; cat <<é\n🚀\né\n",
        "a🚀=1 ssh h",
        "\u{10ffff}{\u{10fffe}",
        "ssh h1 \t)\u{2d0}<\u{24b}\u{71c2f}\n\"}T",
    ] {
        for start in (0..line.len()).filter(|at| line.is_char_boundary(*at)) {
            if let Some(script) = read(&line[start..]) {
                assert!(script.commands.iter().all(|command| line[start..].get(command.span.clone()).is_some()));
            }
        }
    }
    let script = read("éA=1 ssh h '🚀' é").unwrap();
    let words: Vec<&str> = script.commands[0].words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!((words, script.commands[0].assigns.len()), (vec!["éA=1", "ssh", "h", "🚀", "é"], 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_line_is_read_or_left_alone(pieces in prop::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        if let Some(script) = read(&text) {
            for command in &script.commands {
                prop_assert!(!command.words.is_empty());
                let mut at = 0;
                for word in &command.words {
                    prop_assert!(word.span.start >= at && word.span.end >= word.span.start);
                    prop_assert!(text.get(word.span.clone()).is_some());
                    at = word.span.end;
                }
                let head = unwrap(&command.words).map_or(0, |found| found.head);
                prop_assert!(call(&command.words, head).is_none_or(|call| call.head == head));
            }
        }
    }

    #[test]
    fn an_edit_keeps_every_other_byte(
        pieces in prop::collection::vec(piece(), 1..10),
        pick in any::<prop::sample::Index>(),
        with in prop::collection::vec("[ -~é]{0,8}", 1..3),
    ) {
        let text = pieces.concat();
        let Some(script) = read(&text).filter(|script| !script.commands.is_empty()) else { return Ok(()) };
        let command = pick.index(script.commands.len());
        let splice = Splice { command, words: 1..1, with: with.clone() };
        if let Ok(after) = rewrite(&script, &[splice]) {
            let at = script.commands[command].words[0].span.end;
            let added = after.len() - text.len();
            prop_assert_eq!(&after[..at], &text[..at]);
            prop_assert_eq!(&after[at + added..], &text[at..]);
            let words = &read(&after).unwrap().commands[command].words;
            let found: Vec<&str> = words[1..=with.len()].iter().map(|word| word.text.as_str()).collect();
            prop_assert_eq!(found, with.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
