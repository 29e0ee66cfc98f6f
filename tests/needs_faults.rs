//! What is wrong with hosts, and with what runs there, on the shared bed: nothing here breaks a host for others.

use std::fmt::Write as _;
use std::fs;

use crate::bed::Bed;
use crate::far::{HOSTS, Held, configure, nothing_left, state_id, submit_says, why_says};
use crate::world::until;

/// Joins the shared bed, with its hosts and these.
fn with(more: &str) -> Bed {
    let bed = Bed::shared();
    configure(&bed, &format!("{HOSTS}{more}"));
    bed
}

/// Writes a workflow of one task `t`, and submits it.
fn submit(bed: &Bed, task: &str) -> crate::world::Done {
    bed.write("workflow.toml", format!("name = \"w\"\n[tasks.t]\n{task}\n"));
    bed.csync(&["submit"])
}

#[test]
fn login_shells_and_start_files_spoil_nothing() {
    let mut hosts = String::new();
    for shell in ["noisy", "slow", "tcsh", "fish"] {
        let _ = write!(hosts, "[hosts.{shell}]\nssh = \"login-{shell}\"\nbatch = \"slurm\"\n");
        let _ = write!(hosts, "[hosts.lab-{shell}]\nssh = \"station-{shell}\"\nbatch = \"none\"\n");
    }
    let bed = with(&hosts);
    bed.write("in", "brought\n");
    let mut workflow = "name = \"shells\"\n".to_owned();
    for host in ["noisy", "slow", "tcsh", "fish", "lab-noisy", "lab-slow", "lab-tcsh", "lab-fish"] {
        let _ = write!(
            workflow,
            "[tasks.{host}]\ninputs = [\"in\"]\noutputs = [\"out/{host}\"]\nrun = \"cat {{inputs}} > {{outputs}}; echo said\"\non = \"{host}\"\n"
        );
    }
    bed.write("workflow.toml", workflow);
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("8 done"), "{}", done.out);
    for host in ["noisy", "fish", "lab-tcsh"] {
        assert_eq!(bed.read(&format!("out/{host}")), "brought\n");
        // Nothing that a start file prints is in it.
        assert_eq!(bed.csync(&["logs", "last", host]).exits(0).out, "said\n");
    }
}

#[test]
fn a_login_shell_that_ends_at_once_is_named_with_what_to_do() {
    let bed = with("[hosts.quitter]\nssh = \"station-quitter\"\nbatch = \"none\"\n");
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"true\"\non = \"quitter\"\n");
    let said = submit_says(&bed, "workflow.toml", "next try");
    for words in ["`quitter` cannot be used", "ended before a command could start", "must print nothing and succeed"] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    why_says(&bed, "t", &["`quitter` cannot be used", "look at the shell's start files there"]);
    let tested = bed.csync(&["hosts", "test", "quitter"]).exits(1);
    assert!(tested.err.contains("must print nothing and succeed"), "{tested:?}");
    // Nothing is there: it ends at once.
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
}

#[test]
fn commands_outside_the_plain_path_are_found_by_a_probe_and_missed_without_one() {
    let bed = with("[hosts.two]\nssh = \"login2\"\nbatch = \"slurm\"\n");
    let task = "outputs = [\"out\"]\nrun = \"hostname > {outputs}\"\non = \"two\"";
    bed.write("workflow.toml", format!("name = \"w\"\n[tasks.t]\n{task}\n"));
    let said = submit_says(&bed, "workflow.toml", "next try");
    assert!(said.contains("sbatch") && said.contains("csync hosts probe two"), "{said}");
    why_says(&bed, "t", &["`two` cannot be used", "csync hosts probe two"]);
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    bed.csync(&["hosts", "probe", "two"]).exits(0);
    // What a host is like is looked up when it is first used.
    bed.csync(&["engine", "stop"]).exits(0);
    submit(&bed, task).exits(0);
    assert!(bed.read("out").starts_with('n'), "{}", bed.read("out"));
}

#[test]
fn scratch_that_cannot_be_written_is_named_with_the_key_that_changes_it() {
    let bed = with("[hosts.ro]\nssh = \"station\"\nbatch = \"none\"\nscratch = \"/mnt/readonly/csync\"\n");
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"true\"\non = \"ro\"\n");
    let said = submit_says(&bed, "workflow.toml", "next try");
    for words in ["/mnt/readonly/csync", "Read-only file system", "`scratch`", "hosts.toml"] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
}

#[test]
fn a_full_disk_ends_what_needs_it_and_loses_no_word_of_it() {
    // Other tests keep away from this disk, which has a megabyte.
    let bed = with("[hosts.full]\nssh = \"station\"\nbatch = \"none\"\nscratch = \"/mnt/small/csync\"\n");
    // What it says has no room; the job itself goes on, and its end is known, though there is no room for that either.
    submit(&bed, "run = \"seq 1 400000; true\"\non = \"full\"").exits(0);
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    assert!(why.contains("not all that it printed could be written"), "{why}");
    let log = bed.csync(&["logs", "last", "t"]).exits(0).out;
    assert!(log.starts_with("1\n2\n") && log.len() < 1_500_000, "{} bytes", log.len());
    until("its room is free again", || bed.on("station", "ls -A /mnt/small/csync/jobs | grep ^csync-").out.is_empty());
    // An output that has no room is the command's own failure; what it complains has no room either.
    submit(&bed, "outputs = [\"big\"]\nrun = \"head -c 3000000 /dev/zero > {outputs}\"\non = \"full\"").exits(1);
    why_says(&bed, "t", &["exit code 1", "the disk of its job directory was full"]);
    bed.on("station", "rm -rf /mnt/small/csync/trees/*").exits(0);
    // An input that has none stops the task before it begins.
    bed.write("large", vec![b'x'; 3_000_000]);
    submit(&bed, "inputs = [\"large\"]\nrun = \"cat {inputs}\"\non = \"full\"").exits(1);
    why_says(&bed, "t", &["full does not take files"]);
    bed.on("station", "rm -rf /mnt/small/csync").exits(0);
}

#[test]
fn a_quota_that_is_used_up_is_told_in_the_hosts_words() {
    let bed = Bed::own(&[]);
    configure(&bed, HOSTS);
    // A home without room for one more byte, as the tools there say it.
    let tar = "#!/bin/sh\necho 'tar: ./in: Cannot write: Disk quota exceeded' >&2\nexit 2\n";
    bed.on("station", &format!("mkdir -p ~/bin; printf '%s' \"{tar}\" > ~/bin/tar; chmod +x ~/bin/tar")).exits(0);
    bed.on("station", "echo 'PATH=$HOME/bin:$PATH' > ~/.bashrc").exits(0);
    bed.write("in", "x\n");
    submit(&bed, "inputs = [\"in\"]\nrun = \"cat {inputs}\"\non = \"lab\"").exits(1);
    why_says(&bed, "t", &["does not take files", "Disk quota exceeded"]);
    // Without inputs the job directory is the first that has no room.
    submit(&bed, "run = \"true\"\non = \"lab\"").exits(1);
    why_says(&bed, "t", &["its directory cannot be made on the host", "Disk quota exceeded"]);
    nothing_left(&bed, "station");
}

#[test]
fn hosts_whose_clocks_are_an_hour_off_agree_with_this_one() {
    let bed = Bed::own(&[]);
    configure(&bed, &format!("{HOSTS}[hosts.early]\nssh = \"gate\"\nbatch = \"none\"\n"));
    let library = "$(ls /usr/lib/*/faketime/libfaketime.so.1)";
    for (host, offset) in [("station", "-1h"), ("gate", "+1h")] {
        let skew = format!("export LD_PRELOAD={library} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1");
        bed.on(host, &format!("echo '{skew}' > ~/.bashrc")).exits(0);
        let seconds = |done: crate::world::Done| done.exits(0).out.trim().parse::<i64>().unwrap();
        let (there, here) = (seconds(bed.ssh(host, "date +%s")), seconds(bed.on("laptop", "date +%s")));
        assert!((there - here).abs() > 3500, "{host}: {there} {here}");
    }
    bed.write("in", "x\n");
    bed.write(
        "workflow.toml",
        r#"
name = "skew"
[tasks.late]
inputs = ["in"]
outputs = ["mid"]
run = "cp in mid"
on = "lab"
[tasks.early]
inputs = ["mid"]
outputs = ["out"]
run = "cp mid out"
resources = { time = "10m" }
on = "early"
"#,
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("2 done"), "{}", done.out);
    // Files of yesterday and of tomorrow are as good as they were; a change is seen.
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    bed.write("in", "y\n");
    assert!(bed.csync(&["submit"]).exits(0).out.contains("2 done"));
    assert_eq!(bed.read("out"), "y\n");
    let show = bed.csync(&["show", "last", "--json"]).exits(0).json();
    for task in show["tasks"].as_array().unwrap() {
        let wall = task["usage"]["wall"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&wall), "{show}");
    }
}

#[test]
fn jobs_that_print_what_no_terminal_should_see_are_shown_harmlessly() {
    let bed = with("");
    // Colours, a title, a question that terminals answer, zero bytes, what is no UTF-8, a line that overwrites itself.
    let evil = r"printf '\033[31mred\033[0m\033]0;title\007\033[c\0zero\377\376 bell\a\rover\n'; printf '\033]52;c;ZXZpbA==\007bad\n' >&2; exit 3";
    bed.write("evil.sh", evil);
    for host in ["lab", "hpc"] {
        submit(&bed, &format!("inputs = [\"evil.sh\"]\nrun = [\"bash\", \"evil.sh\"]\non = \"{host}\"")).exits(1);
        for args in [&["why", "last", "t"][..], &["show", "last"], &["show", "last", "t"], &["status"]] {
            let done = bed.csync(args).exits(0);
            let shown = done.out + &done.err;
            assert!(!shown.contains(['\u{1b}', '\u{7}', '\0', '\r']), "{args:?}: {shown:?}");
        }
        // Into a pipe goes what it printed, byte by byte.
        let logs = bed.csync_command(&["logs", "last", "t"]).output().unwrap();
        assert!(logs.stdout.windows(6).any(|bytes| bytes == b"\0zero\xff"), "{logs:?}");
        let json = bed.csync(&["logs", "last", "t", "--json"]).exits(0);
        assert!(!json.out.contains('\u{1b}') && json.json()["logs"].is_array(), "{}", json.out);
        // On a terminal it is colours at most.
        let typed = format!("script -qec '{} logs last t' /dev/null", env!("CARGO_BIN_EXE_csync"));
        let state = format!("CSYNC_STATE={}", bed.home().join("state").display());
        let shown = bed.laptop(&["env", &state, "TERM=xterm", "bash", "-c", &typed]).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("red") && shown.contains("zero"), "{shown:?}");
        for bad in ["\u{1b}]", "\u{1b}[c", "\0", "\u{7}"] {
            assert!(!shown.contains(bad), "{bad:?} reached the terminal: {shown:?}");
        }
    }
}

#[test]
fn a_job_that_prints_without_end_fills_no_disk_here() {
    let bed = with("");
    let task = "outputs = [\"made\"]\nrun = \"echo first; seq 1 40000000; echo last; echo > {outputs}\"\non = \"lab\"";
    submit(&bed, task).exits(0);
    let log = bed.csync_command(&["logs", "last", "t"]).output().unwrap().stdout;
    let text = String::from_utf8_lossy(&log);
    assert!(text.starts_with("first\n1\n2\n") && text.ends_with("last\n"), "{} bytes", log.len());
    assert!(log.len() < 150_000_000 && text.contains("bytes were left out here"), "{} bytes", log.len());
    let tail = bed.csync(&["logs", "last", "t", "-n", "2"]).exits(0).out;
    assert!(tail.ends_with("last\n"), "{tail}");
    // Ten gigabytes are not kept where they are printed either.
    submit(&bed, "run = \"echo first; dd if=/dev/zero bs=1M count=10240 status=none\"\non = \"lab\"").exits(0);
    why_says(&bed, "t", &["it succeeded", "9.0G of output dropped"]);
    let log = bed.csync_command(&["logs", "last", "t"]).output().unwrap().stdout;
    assert!(log.starts_with(b"first\n\0") && log.len() < 150_000_000, "{} bytes", log.len());
    nothing_left(&bed, "station");
}

#[test]
fn names_with_quotes_and_line_ends_reach_every_batch_system() {
    let bed = with("");
    let odd = "it's \\\"odd\\\"\\n$(touch evil) `id` ; | & < >";
    bed.write("bad.toml", format!("name = \"{odd}\"\n[tasks.t]\nrun = \"true\"\n"));
    assert!(bed.csync(&["submit", "bad.toml"]).exits(2).err.contains("this is not a name for a workflow"));
    let mut workflow = "name = \"odd names\"\n".to_owned();
    for host in ["hpc", "grid", "lab"] {
        let _ = write!(
            workflow,
            "[tasks.{host}]\nforeach = [\"{odd}\"]\nenv = {{ ODD = \"{odd}\" }}\noutputs = [\"out/{host} it's\"]\n\
             run = [\"sh\", \"-c\", \"printf '%s|%s|%s' \\\"$0\\\" \\\"$ODD\\\" \\\"$2\\\" > \\\"$1\\\"\", \"{odd}\", \"{{outputs[0]}}\", \"{{item}}\"]\n\
             on = \"{host}\"\n"
        );
    }
    bed.write("workflow.toml", &workflow);
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("3 done"), "{}", done.out);
    let odd = "it's \"odd\"\n$(touch evil) `id` ; | & < >";
    for host in ["hpc", "grid", "lab"] {
        assert_eq!(bed.read(&format!("out/{host} it's")), format!("{odd}|{odd}|{odd}"), "{host}");
        // Its label is one line, and names it.
        let why = bed.csync(&["why", "last", host]).exits(0).out;
        assert!(why.contains("it succeeded"), "{why}");
    }
    let evil = "find ~ /mnt/scratch -name evil 2>/dev/null";
    assert!(!bed.path("evil").exists());
    assert!(["login", "gridx", "station"].iter().all(|host| bed.on(host, evil).out.is_empty()));
}

#[test]
fn hosts_that_are_options_or_commands_are_never_given_to_ssh() {
    let bed = with("");
    let asked = bed.path("asked");
    let touched = bed.path("touched");
    crate::far::configure_ssh(&bed, &format!("Match exec \"echo %n >> {}\"\n  LogLevel ERROR", asked.display()));
    for name in ["-oProxyCommand=touch touched", "$(touch touched)", "a b", "station;touch touched"] {
        let name = name.replace("touched", &touched.display().to_string());
        for args in
            [&["hosts", "test", "--", &name][..], &["hosts", "probe", "--", &name], &["hosts", "import", "--", &name]]
        {
            let done = bed.csync(args);
            assert!(done.code != 0 && !done.err.is_empty(), "{args:?}: {done:?}");
        }
        configure(&bed, &format!("[hosts.evil]\nssh = \"{name}\"\nbatch = \"none\"\n"));
        let done = submit(&bed, "run = \"true\"\non = \"evil\"").exits(2);
        assert!(done.err.contains("hosts.toml has mistakes"), "{}", done.err);
        let listed = bed.csync(&["hosts", "list"]).exits(2);
        assert!(listed.err.contains("no name for a host") || listed.err.contains("ssh ="), "{}", listed.err);
        configure(&bed, HOSTS);
        let quoted = name.replace('"', "\\\"");
        submit(&bed, &format!("run = \"true\"\non = \"{quoted}\"")).exits(2);
        assert!(!touched.exists() && !asked.exists(), "{name}");
    }
    // A jump host of that kind, which only ssh_config can name.
    let config = bed.home().join(".ssh/config");
    let good = fs::read_to_string(&config).unwrap();
    let jump = format!("-oProxyCommand=touch${{IFS}}{}", touched.display());
    crate::far::configure_ssh(&bed, &format!("Host evil\n  HostName 10.91.0.3\n  ProxyJump {jump}"));
    assert_eq!(bed.csync(&["hosts", "test", "evil"]).exits(3).out, "", "it is not in hosts.toml");
    configure(&bed, "[hosts.evil]\nbatch = \"none\"\n");
    let tested = bed.csync(&["hosts", "test", "evil"]).exits(1);
    assert!(tested.err.contains("evil") && !touched.exists(), "{tested:?}");
    fs::write(&config, good).unwrap();
    configure(&bed, HOSTS);
    bed.csync(&["engine", "stop"]);
    // A plain name is asked for, once it is configured.
    submit(&bed, "run = \"true\"\non = \"lab\"").exits(0);
    assert!(
        fs::read_to_string(&asked).unwrap().lines().all(|name| name == "station" || name == "evil"),
        "{:?}",
        fs::read_to_string(&asked)
    );
}

#[test]
fn job_directories_are_private_and_links_in_them_lead_nowhere() {
    let bed = with("");
    for (host, far) in [("hpc", "login"), ("lab", "station")] {
        let held = Held::submit(&bed, far, &format!("\"{host}\""), 1, "");
        held.run();
        let jobs = format!("~/.csync/jobs/csync-{}-*", state_id(&bed));
        let modes = bed.on(far, &format!("stat -c '%a %F' ~/.csync ~/.csync/jobs ~/.csync/trees {jobs} {jobs}/1"));
        let modes = modes.exits(0).out;
        assert!(modes.lines().all(|line| line == "700 directory"), "{modes}");
        // What the laptop would read, or overwrite, were links followed on either side.
        let secret = bed.home().join("secret");
        fs::write(&secret, "a secret of the laptop\n").unwrap();
        let path = secret.display();
        let plant =
            format!("cd {jobs}/1 && rm -f stdout && ln -s {path} stdout && rm -f stderr && ln -s /etc/passwd stderr");
        bed.on(far, &plant).exits(0);
        held.release();
        bed.csync(&["wait", "last"]).exits(0);
        let shown = bed.csync(&["logs", "last", "t[1]"]);
        assert!(!(shown.out + &shown.err).contains("alice:"), "a planted link was followed");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "a secret of the laptop\n");
        assert_eq!(bed.read("out/1"), "1\n");
        nothing_left(&bed, far);
        // An output that is a link comes as the file that it leads to there; what it leads to here is nobody's business.
        submit(&bed, &format!("outputs = [\"link\"]\nrun = \"ln -s /etc/hostname {{outputs}}\"\non = \"{host}\""))
            .exits(0);
        assert!(!bed.path("link").is_symlink(), "a link came back");
        submit(&bed, &format!("outputs = [\"link\"]\nrun = \"ln -s {path} {{outputs}}\"\non = \"{host}\"")).exits(1);
        why_says(&bed, "t", &["did not make"]);
    }
}

#[test]
fn walltimes_end_what_takes_too_long_and_say_how_to_ask_for_more() {
    let bed = with("");
    bed.write(
        "workflow.toml",
        r#"
name = "late"
[tasks.lab]
run = "echo begun; sleep 600"
resources = { time = "2s" }
on = "lab"
[tasks.grid]
run = "echo begun; sleep 600"
resources = { time = "5s" }
on = "grid"
[tasks.hpc]
run = "echo begun; sleep 600"
resources = { time = "1m" }
on = "hpc"
"#,
    );
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("3 failed"), "{}", done.out);
    for task in ["lab", "grid", "hpc"] {
        let why = bed.csync(&["why", "last", task]).exits(0).out;
        assert!(why.contains("it ran longer than its walltime") && why.contains("give it longer"), "{why}");
        assert_eq!(bed.csync(&["logs", "last", task]).exits(0).out, "begun\n", "{task}");
    }
    for host in ["login", "grid", "station"] {
        nothing_left(&bed, host);
    }
}

#[test]
fn what_asks_for_more_than_a_host_has_is_refused_or_taken_out_of_the_queue() {
    let bed = with("");
    for (host, resources, batch, words) in [
        ("hpc", "cpus = 500", "", "it can never run"),
        ("hpc", "time = \"30d\"", "", "PartitionTimeLimit"),
        ("hpc", "cpus = 1", "partition = \"nowhere\"", "invalid partition"),
        ("grid", "cpus = 1", "partition = \"nowhere\"", "nowhere"),
    ] {
        let task = format!("run = \"true\"\nresources = {{ {resources} }}\n{batch}\non = \"{host}\"");
        submit(&bed, &task).exits(1);
        why_says(&bed, "t", &[words]);
        nothing_left(&bed, if host == "hpc" { "login" } else { host });
    }
    // What cannot be said there is not sent.
    let wide = "run = \"true\"\nresources = { cpus = 500 }\non = \"grid\"";
    let refused = submit(&bed, wide).exits(2).err;
    let refused = refused.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(
        refused.contains("which parallel environment gives 500 slots") && refused.contains("csync hosts probe"),
        "{refused}"
    );
    bed.csync(&["hosts", "probe", "grid"]).exits(0);
    bed.csync(&["engine", "stop"]).exits(0);
    submit(&bed, wide).exits(1);
    why_says(&bed, "t", &["asks for 500 cores, and the most is", "ask for less"]);
}
