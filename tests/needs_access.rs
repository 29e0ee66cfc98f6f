//! Journeys of access: logins that a person gives, job directories on hosts, shells and ports of jobs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::bed::{Bed, inner_pid, read_until};
use crate::world::{Done, signal, until};

fn configure(bed: &Bed, hosts: &str) {
    let dir = bed.home().join(".config/csync");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), hosts).unwrap();
}

const CLUSTERS: &str = "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n[hosts.grid]\nbatch = \"sge\"\n\
                        [hosts.lab]\nssh = \"station\"\nbatch = \"none\"\n";

/// Returns a command of csync that has somebody to answer what `ssh` asks, with this.
fn answering(bed: &Bed, answer: &str, args: &[&str]) -> Command {
    let program = bed.home().join("answer");
    fs::write(&program, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    with_env(bed, &[&format!("SSH_ASKPASS={}", program.display()), "SSH_ASKPASS_REQUIRE=force"], args)
}

fn with_env(bed: &Bed, env: &[&str], args: &[&str]) -> Command {
    let state = format!("CSYNC_STATE={}", bed.home().join("state").display());
    let first = ["env", &state, "CSYNC_CPUS=2", "CSYNC_GRACE=1s"];
    bed.laptop(&[&first, env, &[env!("CARGO_BIN_EXE_csync")], args].concat())
}

fn done(mut command: Command) -> Done {
    command.output().unwrap().into()
}

#[test]
fn a_job_waits_for_a_login_and_goes_on_after_it() {
    let bed = Bed::own(&[]);
    configure(
        &bed,
        "[hosts.code]\nssh = \"station-code\"\nbatch = \"none\"\n[hosts.locked]\nssh = \"station-locked\"\nbatch = \"none\"\n",
    );
    for (host, wrong, right) in [("code", "000000", "111111"), ("locked", "open barley", "open sesame")] {
        bed.csync(&["submit", "--yes", "--detach", "--on", host, "--", "sh", "-c", "hostname; echo $USER >who"])
            .exits(0);
        let command = format!("csync login {host}");
        until("it waits", || bed.csync(&["status"]).exits(0).out.contains(&command));
        for look in ["show", "why"] {
            let text = bed.csync(&[look]).exits(0).out;
            assert!(text.contains("login") && text.contains(&command), "{look}: {text}");
        }
        // Nobody is there to be asked, then somebody who is wrong.
        let refused = bed.csync(&["login", host]);
        assert_ne!(refused.code, 0, "{}", refused.err);
        let refused = done(answering(&bed, wrong, &["login", host]));
        assert_ne!(refused.code, 0, "{}", refused.err);
        done(answering(&bed, right, &["login", host])).exits(0);
        bed.csync(&["wait", "last"]).exits(0);
        assert_eq!(bed.csync(&["logs", "--stdout"]).exits(0).out, "station\n");
        assert!(!bed.csync(&["status"]).exits(0).out.contains("login"));
    }
    // Without a name those are meant that wait, and none does.
    assert!(bed.csync(&["login"]).exits(0).err.contains("No host waits"));
}

#[test]
fn the_agent_of_who_submits_opens_what_the_engine_could_not() {
    let bed = Bed::own(&[]);
    configure(&bed, "[hosts.locked]\nssh = \"station-locked\"\nbatch = \"none\"\n");
    bed.csync(&["submit", "--yes", "--detach", "--on", "locked", "--", "hostname"]).exits(0);
    until("it waits", || bed.csync(&["status"]).exits(0).out.contains("csync login locked"));
    let socket = bed.home().join("agent");
    let mut agent =
        bed.laptop(&["ssh-agent", "-D", "-a", socket.to_str().unwrap()]).stdout(Stdio::null()).spawn().unwrap();
    until("the agent is there", || socket.exists());
    let program = bed.home().join("answer");
    fs::write(&program, "#!/bin/sh\necho 'open sesame'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let agent_socket = format!("SSH_AUTH_SOCK={}", socket.display());
    let askpass = format!("SSH_ASKPASS={}", program.display());
    let key = bed.home().join(".ssh/id_locked");
    let add = bed
        .laptop(&["env", &agent_socket, &askpass, "SSH_ASKPASS_REQUIRE=force", "ssh-add", key.to_str().unwrap()])
        .output();
    Done::from(add.unwrap()).exits(0);
    done(with_env(&bed, &[&agent_socket], &["submit", "--on", "locked", "--", "hostname"])).exits(0);
    // The run that waited goes on as well.
    bed.csync(&["wait", "1"]).exits(0);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn job_directories_are_listed_and_removed_but_not_those_that_live() {
    let bed = Bed::shared();
    configure(&bed, CLUSTERS);
    let trace = bed.scratch("station");
    bed.write("notes", "first\n");
    let change =
        format!("echo far >notes; echo made >made; touch {trace}/$0; while [ ! -e {trace}/go$0 ]; do sleep 0.1; done");
    bed.csync(&["submit", "-y", "--detach", "--on", "lab", "--", "sh", "-c", &change, "1"]).exits(0);
    let is_there = |name: &str| bed.on("station", &format!("test -e {trace}/{name} && echo yes")).out == "yes\n";
    until("the first runs", || is_there("1"));
    bed.write("notes", "mine\n");
    bed.on("station", &format!("touch {trace}/go1")).exits(0);
    bed.csync(&["wait", "1"]).exits(0);
    bed.csync(&["submit", "-y", "--detach", "--on", "lab", "--", "sh", "-c", &change, "2"]).exits(0);
    until("the second runs", || is_there("2"));
    // A run is over a moment before its host has been told so.
    let listed = || bed.csync(&["clean", "--on", "lab", "-n"]).exits(0);
    until("the first is let go of", || listed().out.contains("results not brought back"));
    let list = listed();
    assert!(list.out.contains("not over: stays"), "{}", list.out);
    assert!(list.err.contains("Would remove 1 job directory"), "{}", list.err);
    // What was left is brought when it is asked for; over what is here only when that is said.
    let kept = bed.csync(&["fetch", "1"]).exits(0);
    assert!(kept.out.contains("something else is here"), "{}", kept.out);
    assert_eq!(bed.read("notes"), "mine\n");
    bed.csync(&["fetch", "1", "--overwrite"]).exits(0);
    assert_eq!(bed.read("notes"), "far\n");
    assert!(bed.csync(&["fetch", "1"]).exits(0).err.contains("Nothing of run 1"));
    let none = bed.csync(&["clean", "--on", "lab", "1"]).exits(0);
    assert!(none.err.contains("Nothing to clean"), "{}", none.err);
    bed.on("station", &format!("touch {trace}/go2")).exits(0);
    bed.csync(&["wait", "2"]).exits(0);
    let refused = bed.csync(&["clean", "--on", "hcp"]).exits(3).err;
    assert!(refused.contains("did you mean `hpc`"), "{refused}");
}

#[test]
fn a_shell_and_a_port_lead_to_where_a_job_runs() {
    let bed = Bed::shared();
    configure(&bed, &format!("{CLUSTERS}[hosts.center]\nssh = \"pbs\"\n"));
    bed.csync(&["hosts", "probe", "center"]).exits(0);
    bed.write("serve.py", SERVER);
    let anywhere = "0.0.0.0";
    let itself = "127.0.0.1";
    for (host, bind) in [("hpc", itself), ("hpc", anywhere), ("lab", itself), ("grid", itself), ("center", itself)] {
        bed.csync(&["submit", "-y", "--detach", "--on", host, "--", "python3", "serve.py", bind]).exits(0);
        until("it runs", || bed.csync(&["show", "last", "python3"]).exits(0).out.contains("running"));
        let mut shell = bed.csync_command(&["shell"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let ask = b"hostname; cat port 2>/dev/null || { sleep 2; cat port; }; exit 3\n";
        shell.stdin.take().unwrap().write_all(ask).unwrap();
        let shell = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&shell.stdout).into_owned();
        let mut lines = said.lines();
        let (node, port) = (lines.next().unwrap_or_default().to_owned(), lines.next().unwrap_or_default().to_owned());
        assert_eq!(shell.status.code(), Some(3), "{said}");
        let mut forward = bed.csync_command(&["forward", &format!("0:{port}")]).stdout(Stdio::piped()).spawn().unwrap();
        let told = read_until(forward.stdout.as_mut().unwrap(), "Ctrl-C");
        assert!(told.contains(&format!("is port {port} of {node}")), "{told}");
        let here = told.split_whitespace().next().unwrap().to_owned();
        // The laptop has a network of its own.
        let ask = format!(
            "import socket\ns = socket.create_connection(('{}', {}))\nprint(s.makefile().read())",
            here.split(':').next().unwrap(),
            here.split(':').nth(1).unwrap()
        );
        for _ in 0..2 {
            let answer: Done = bed.laptop(&["python3", "-c", &ask]).output().unwrap().into();
            assert_eq!(answer.exits(0).out.trim(), format!("hello from {node}"));
        }
        signal(inner_pid(&forward), "INT");
        let mut rest = String::new();
        forward.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(forward.wait().unwrap().code(), Some(0));
        bed.csync(&["cancel"]).exits(0);
        bed.csync(&["wait", "last"]).exits(130);
        let over = bed.csync(&["shell"]).exits(4).err;
        assert!(over.contains("nothing of run") && over.contains("csync show"), "{over}");
    }
    assert!(bed.csync(&["forward", "x"]).exits(2).err.contains("is no port"));
}

/// Greets whoever connects; says its port in a file.
const SERVER: &str = r#"
import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
s.listen()
with open("port.new", "w") as f:
    print(s.getsockname()[1], file=f)
import os
os.rename("port.new", "port")
while True:
    c, _ = s.accept()
    c.sendall(f"hello from {socket.gethostname()}\n".encode())
    c.close()
"#;
