//! `docs/cli.md` is what the program says of itself.

use std::fmt::Write as _;
use std::path::Path;

use crate::arena::World;

/// Set to write the file anew instead of comparing.
const UPDATE: &str = "CSYNC_UPDATE_DOCS";

/// Names of the commands, from the list that `csync --help` prints: lines with two blanks, a word, and a summary.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split("\nOptions:").next().unwrap_or_default();
    let name = |line: &str| {
        let (name, summary) = line.strip_prefix("  ")?.split_once("  ")?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !name.is_empty();
        (is_name && !summary.trim().is_empty()).then(|| name.to_owned())
    };
    listed.lines().filter_map(name).collect()
}

#[test]
fn the_command_line_reference_is_current() {
    let mut world = World::new();
    world.set("COLUMNS", "100");
    let overview = world.csync(&["--help"]).code(0).out;
    let commands = commands(&overview);
    assert!(commands.len() > 15, "{commands:?}");
    let mut text = format!(
        "# The command line\n\nWritten by the program itself: `{UPDATE}=1 tests/run the_command_line_reference` renews it.\n\n\
         ```\n$ csync --help\n{}\n```\n",
        overview.trim_end()
    );
    for command in &commands {
        let help = world.csync(&[command, "--help"]).code(0).out;
        let _ = write!(text, "\n## csync {command}\n\n```\n$ csync {command} --help\n{}\n```\n", help.trim_end());
        for inner in self::commands(&help).iter().filter(|inner| *inner != "help") {
            let help = world.csync(&[command, inner, "--help"]).code(0).out;
            let _ = write!(text, "\n### csync {command} {inner}\n\n```\n{}\n```\n", help.trim_end());
        }
    }
    let codes = world.csync(&["help", "exit-codes"]).code(0).out;
    let _ = write!(text, "\n## Exit codes\n\n```\n$ csync help exit-codes\n{}\n```\n", codes.trim_end());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).expect("docs/cli.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/cli.md is old: `{UPDATE}=1 tests/run the_command_line_reference` renews it");
}

/// What stands before the tables of `docs/hosts.md`.
const HOSTS: &str = "\
# Hosts

`csync hosts import` takes hosts from `~/.ssh/config`, `csync hosts probe` looks at them, `csync hosts show HOST` prints what
holds and who said it. The file is `~/.config/csync/hosts.toml` (`XDG_CONFIG_HOME` and `CSYNC_CONFIG` are obeyed) and yours to
edit. Addresses, users, keys and jump hosts stay in `~/.ssh/config`.

What holds for a host is laid over each other in this order: what csync does when nothing is said, what a probe found, the site
file, `hosts.toml`, the workflow, the command line. A host without `site` follows the site file of its batch system.

```toml
[hosts.hpc]
ssh = \"hpc-login\"
scratch = \"/scratch/$USER/csync\"
tags = [\"gpu\"]
account = \"lab42\"

[hosts.hpc.policy]
poll_min = \"15s\"

[hosts.hpc.partitions.gpu]
walltime = \"2-00:00:00\"

[hosts.nas]
transfer_only = true

[links]
\"hpc-nas\" = { direct = true }
```

What a probe found of partitions, accounts and arrays bounds what is sent there, and `[hosts.NAME.partitions.*]` corrects it: a
task that names no partition goes to the default one or, where it does not fit that, to the first that it fits (where csync places
tasks, to another where they start much sooner: see [placement.md](placement.md)); one that fits
none is refused before it is sent, with what each has. At most `max_jobs` jobs (2,000 where nothing is said) are queued or running
there. A batch system that takes no more (a limit of the account, the qos or the site) is waited for, and csync keeps to what it
took. `csync status` and `csync hosts list` say so, and when a host that could not be reached is tried again. Of a routing queue of
PBS holds what one of the queues behind it allows; those that take jobs from it alone are sent none past it.

A probe looks at the login node and starts nothing. `csync hosts probe --nodes HOST` also sends a job of at most one minute and one core
to each partition (with one GPU where there are any; 20 at most, those that nobody looked at for longest first), waits for them five
minutes or `--within TIME`, and cancels what is not over then. They see which GPUs there are, with driver and CUDA level, and whether
the internet can be reached from there (by asking `https://github.com`, as the probe does from the login node). `csync hosts show HOST`
tells that by partition, with the node and the time; what reaches for the internet is not routed to a partition without; and where
all partitions say the same it holds for `internet.compute`, unless `hosts.toml` says something else.
Jobs that csync sends there for tasks note the same beside them, of each partition once in thirty days; no task waits for that.

A batch system is asked no more often than `poll_min` of the `policy` says, whatever happens: `csync logs -f`, `csync cancel` and a
connection that broke read and write in the directories of the jobs alone until it may be asked again. What a job prints, that it
started, and that it ended well, is seen there at once while somebody watches it; why one failed, and that one waits again, with the
next question.

Connections are made by csync itself unless something is configured that the system's `ssh` alone can do; `csync hosts test` says
which it is, and why: a `ProxyCommand`, PKCS#11, a key of a hardware security key among the `IdentityFile`s that are there
(`id_ed25519_sk` and `id_ecdsa_sk` are looked at unless others are named), or `GSSAPIAuthentication` while there is a Kerberos ticket.
Whether there is one is asked of `klist -s` where tickets are not kept in a file. Variables of `SetEnv` and `SendEnv` go along either
way, as far as the host's `AcceptEnv` lets them in. Whatever language a host speaks by that, commands of csync itself run there in the
`C` locale, so that what they say is read as it is meant; jobs have the `LC_ALL` of the login.

What a host asks (a passphrase, a password, a one-time code) comes to the terminal of whoever gave the command, one question at a time
and under the host's name, without anything that a terminal would obey. Answers are not kept. A passphrase is asked for once in a command,
however many hosts its key opens, and the open key is in the memory of that process alone. Where the system's `ssh` connects, as for
`csync login`, csync asks for passphrases likewise, and signs with the keys at `ssh`'s request for as long as that logs in: it stands
before your agent, from which all else comes. `ssh` itself asks for the rest, shown or not as the host wants it; and for passphrases,
for each connection anew, where a host has keys on hardware too or `PKCS11Provider`, where the public half of a key cannot be read (old
PEM files without a `.pub`), and where `AddKeysToAgent` gives keys to an agent, which then has them. Without a terminal a command says
that the host needs a login, as the engine does.

At most `connections_per_minute` are opened to an address in a minute by all commands and the engine of one state directory together;
to a jump host as many as to the host behind it, and 6 at least. What comes too late waits for its turn, and a command says so. A
connection that is open costs nothing of it, whatever goes over it; those of `csync shell` and `csync forward` to a node behind a host
are not counted.

What is edited here holds for hosts that are at work from their next look on. A host that is taken out gets nothing new; what it
has is followed to its end, as the host was configured last. A connection whose keep-alives stay without an answer is given up after
30 s, or what `ServerAliveInterval` and `ServerAliveCountMax` say. What ran there is `lost` then, which is no failure: it is waited
for, however long, and nothing of it runs twice. Where you know that the host will not come back, `csync retry --lost` runs it again
elsewhere; should the host answer after all, what still runs there is ended, and nothing of it is taken. A job that a PBS knows neither
in its queue nor in its history, and that left no word, is `lost` as well, unless the log of its server says who deleted it: that is
looked into where everybody may read it, on the host that the server runs on.

On which node a batch system ran an attempt is told once it is over: `csync why` and `csync show RUN TASK` name it (of several nodes
the first, and how many more), with the cores, memory and GPUs granted there where these are not what was asked for. `--json` has all
of it under `allocation` of the attempt, which GPUs too. Slurm tells cores, memory and GPUs, PBS and Grid Engine cores.

Where nothing can be written to `scratch` any more, since a disk is full or a quota used up, nothing is sent to the host until there is
room: `csync status` and `csync why` say so, with the place and what makes room (`csync clean --on HOST --inputs`, which leaves results
that lie there alone). What runs there is followed as before. A job whose end finds no room to be written down waits for it, ten
minutes in a batch system and a day without one, so that nothing that was done is done again.

Files go over the same connection as everything else: small ones together, large ones one by one and on from where a transfer
broke off, compared by size and checksum (`cksum`) before they get their names. What lies there already does not move, be it
known by size and time or by size and checksum. What was brought there and is no longer here goes there too before the next job
starts, whichever input it was, since a command may take all that it finds (`cat */x.txt`); what a job wrote stays. An input that
cannot be brought fails the tasks that read it, and no others. A directory that the host sees under the same name as this machine is
recognised by a file that is put there for a moment; then nothing moves, and the task works in the directory itself. Outputs larger than
`keep_above` stay where they were made, directories too, by all that is in them: later tasks on that host use them there, tasks on
other hosts get them through this machine's memory or, where both hosts see the same filesystem, by a link, and tasks here fetch them.
`csync data` lists, fetches, moves and removes them. A directory is what it was as long as its size and the latest change of anything
in it are the same; of one of which a part is gone nothing is used, and what made it runs again. What reads a file in it gets the
whole, and runs once more when that came here, where each file is known by itself. A directory that comes here gets its name when
all that is in it has come; one that is here already, with anything in it, is brought up to date instead of being left on the host:
csync removes nothing there.

A large file that is new there takes the same stream as everything else, not `rsync` or SFTP: it goes on where it broke off, needs
nothing there but a shell, `tail` and `cksum`, and was the fastest of them (`benches/stage/run`, 1 GiB through a jump host: 8.9 s,
scp 10.6, `cat` 10.8, rsync 11.1). Where a former version of 16 MiB and more lies at its place and both ends have `rsync`, only what
differs moves, there and back: `rsync` speaks over the connection of csync, so it needs no login or jump of its own, and compares the
whole by its own checksum before the file gets its name. Where `rsync` is missing or fails, the file moves as a whole. Files that
go from host to host move as a whole: `rsync` there would write what the first host tells it to, and no host is trusted with that.

Small files are bound by processor time: of 10,000 with 2.5 KB each, through a jump host, both ends on one machine with two cores,
csync brings all in 0.49 s and fetches them in 0.49 s; `tar | ssh` takes 0.41 and 0.52 s, rsync 0.72 and 0.81 s (medians of five
rounds in turn). Comparing what arrived is part of it.

With `\"A-B\" = { direct = true }` below `[links]`, files go from host A to host B without passing here: A calls `ssh` to B's address
as it is configured here, with a key of its own (one that has no passphrase, or is in an agent on A) and its own `known_hosts`. You
opt in by laying that key there; restrict it in B's `authorized_keys` (`restrict,command=...` or `from=\"A\"`). Where A does not get there,
bytes pass through here as always, and `engine.log` says why. What arrived is compared by checksums that both hosts say to us. Your own
SSH agent is forwarded to no host.

With `\"A-B\" = { agent = true }` no key need lie on A. For each transfer csync starts an `ssh-agent` of its own, puts the keys of B
into it that are files without a passphrase (`IdentityFile`), and forwards it to A over one more connection, by the system's `ssh`. It
signs for nobody but B, as this user, coming from A (`ssh-add -h`: destination constraints): whoever rules A can use it for B while
the transfer lasts, and for nothing else. It ends with the transfer, and with csync, even when that is killed. A gets B's host keys as they
are known here, and none of its own settings count. It takes OpenSSH 8.9 here, on A and on B (its sshd), `AllowAgentForwarding` on A, and
an A that lets you in without asking anything; else bytes pass through here.

## A cluster that is none

`csync demo` takes you through a workflow on a made-up cluster in 20 seconds. The same cluster can be a host of yours, for
trying workflows out and for their tests:

```toml
[hosts.hpc]
simulated = { nodes = 2, cores = 4, wait = \"2s\" }
```

Jobs of this host are processes of this machine, in directories below csync's state directory (`simulated/NAME`). What is
submitted, followed, judged and brought back goes the way of a real Slurm cluster: only declared inputs are there, memory above
what was asked for is killed, walltimes are kept (`minute = \"1s\"` lets them pass faster). `scontrol update NodeName=sim1
State=DOWN` in a job takes its node away, `State=RESUME` brings it back. In CI, where the workflow says `on = \"hpc\"`, give csync
a configuration in which `hpc` is made up:

```sh
mkdir -p ci/csync && printf '[hosts.hpc]\\nsimulated = {}\\n' > ci/csync/hosts.toml
CSYNC_CONFIG=ci/csync csync submit --foreground workflow.toml
```

## Site files

Site files of your own lie beside `hosts.toml` in `sites/NAME.toml`; one with the name of a shipped one takes its place.
";

#[test]
fn the_reference_of_hosts_is_current() {
    let mut text =
        format!("{HOSTS}\nThe tables are written by the program: `{UPDATE}=1 tests/run reference` renews them.\n");
    for (table, keys) in csync::language::hosts::reference() {
        let _ = write!(text, "\n## {table}\n\n| key | meaning |\n|---|---|\n");
        for (key, about) in keys {
            let _ = writeln!(text, "| `{key}` | {about} |");
        }
    }
    let example = HOSTS.split("```").nth(1).and_then(|code| code.strip_prefix("toml\n")).expect("there is an example");
    let (_, mistakes) = csync::language::hosts::read(example, &[]);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hosts.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).expect("docs/hosts.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/hosts.md is old: `{UPDATE}=1 tests/run reference` renews it");
}
