//! Journeys of tasks in containers, by Apptainer: on this machine, over SSH, and in batch jobs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bed::Bed;
use crate::far::{HOSTS, configure, nothing_left, why_says};
use crate::world::{Done, until};

/// Where Apptainer is: `tests/run` says.
fn programs() -> String {
    let program = std::env::var("CSYNC_APPTAINER").expect("CSYNC_APPTAINER names the program; tests/run sets it");
    Path::new(&program).parent().unwrap().display().to_string()
}

/// Joins the shared bed, with an image as a file in the test's directory: a busybox, and a file that tells which it is.
fn with_image(word: &str) -> Bed {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    image(&bed, word);
    bed
}

fn image(bed: &Bed, word: &str) {
    let script = format!(
        "set -e; rm -rf root; mkdir -p root/bin root/etc images; cp \"$(command -v busybox)\" root/bin/busybox\n\
         for library in $(ldd root/bin/busybox | grep -o '/[^ ]*'); do cp -L --parents \"$library\" root; done\n\
         for name in sh cat echo test sleep env grep tr; do ln -s busybox root/bin/$name; done\n\
         echo {word} >root/word; : >root/etc/resolv.conf; : >root/etc/hosts\n\
         echo 'alice:x:1000:1000::/:/bin/sh' >root/etc/passwd; : >root/etc/group\n\
         PATH={}:$PATH apptainer -q build --force images/tools.sif root && rm -rf root",
        programs()
    );
    Done::from(bed.laptop(&["bash", "-c", &script]).output().unwrap()).exits(0);
}

#[test]
fn one_image_serves_this_machine_a_workstation_and_a_cluster() {
    let bed = with_image("first");
    bed.write("in/text.txt", "hello\n");
    bed.write("elsewhere.txt", "linked\n");
    std::os::unix::fs::symlink(bed.path("elsewhere.txt"), bed.path("in/link.txt")).unwrap();
    let text = format!(
        r#"
name = "boxed"
[defaults]
container = "images/tools.sif"
env = {{ PATH = "{}:/usr/bin:/bin", WORD = "it's" }}
[tasks.here]
inputs = ["in/link.txt"]
outputs = ["out/here"]
run = "cat /word {{inputs}} > {{outputs}}; test ! -e /etc/debian_version; test \"$WORD\" = \"it's\"; test -z \"${{CSYNC_CPUS-}}\""
[tasks.lab]
inputs = ["in/text.txt"]
outputs = ["out/lab"]
run = ["sh", "-c", "cat /word \"$1\" > \"$2\"; test ! -e /etc/debian_version", "sh", "{{inputs}}", "{{outputs}}"]
on = "lab"
[tasks.hpc]
inputs = ["out/lab"]
outputs = ["out/hpc"]
run = "tr a-z A-Z < {{inputs}} > {{outputs}}; test ! -e /etc/debian_version"
on = "hpc"
[tasks.fails]
run = "echo told >&2; exit 7"
on = "hpc"
[tasks.lost]
run = "true"
container = "/nowhere/tools.sif"
on = "lab"
"#,
        programs()
    );
    bed.write("workflow.toml", text);
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("3 done") && done.out.contains("fails  exit code 7"), "{}{}", done.out, done.err);
    assert_eq!((bed.read("out/here").as_str(), bed.read("out/hpc").as_str()), ("first\nlinked\n", "FIRST\nHELLO\n"));
    let lost = bed.csync(&["logs", "1", "lost", "--stderr"]).exits(0).err;
    assert!(lost.contains("there is no image /nowhere/tools.sif on station"), "{lost}");
    // The image's content is part of what is up to date.
    let again = bed.csync(&["submit"]).exits(1).out;
    assert!(again.contains("3 cached"), "{again}");
    image(&bed, "second");
    let changed = bed.csync(&["submit"]).exits(1).out;
    assert!(changed.contains("3 done"), "{changed}");
    assert_eq!((bed.read("out/here").as_str(), bed.read("out/hpc").as_str()), ("second\nlinked\n", "SECOND\nHELLO\n"));
}

/// Writes what `docker save` writes, of a busybox.
fn docker_archive(bed: &Bed) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/archive.py");
    let line = format!("python3 {script} \"$(command -v busybox)\" box.tar box:1");
    Done::from(bed.laptop(&["bash", "-c", &line]).output().unwrap()).exits(0);
}

#[test]
fn an_archive_is_converted_once_however_many_jobs_start_at_the_same_moment() {
    let bed = Bed::shared();
    let scratch = bed.scratch("login");
    configure(&bed, &HOSTS.replace("[hosts.hpc]", &format!("[hosts.hpc]\nscratch = \"{scratch}/ours\"")));
    docker_archive(&bed);
    // Counts what is converted.
    let program: PathBuf = [programs().as_str(), "apptainer"].iter().collect();
    let shim = format!(
        "mkdir {scratch}/bin; printf '%s\\n' '#!/bin/sh' 'case $1 in build | pull) echo x >>{scratch}/made ;; esac' \
         'exec {} \"$@\"' >{scratch}/bin/apptainer; chmod +x {scratch}/bin/apptainer",
        program.display()
    );
    bed.on("login", &shim).exits(0);
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "once"
[tasks.t]
foreach = {{ range = [1, 20] }}
container = "docker-archive:box.tar"
outputs = ["out/{{item}}"]
run = "echo {{item}} > {{outputs}}"
env = {{ PATH = "{scratch}/bin:/usr/bin:/bin" }}
on = "hpc"
"#
        ),
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("20 done"), "{}", done.out);
    assert_eq!(bed.on("login", &format!("cat {scratch}/made")).exits(0).out, "x\n");
    let kept = bed.on("login", &format!("ls {scratch}/ours/images")).exits(0).out;
    assert_eq!(kept.lines().filter(|name| name.rsplit('.').next() == Some("sif")).count(), 1, "{kept}");
    assert!(!kept.contains(".part"), "{kept}");
    assert!(fs::read_dir(bed.path("out")).unwrap().count() == 20);
}

/// Starts a registry on the login node of a bed of the test's own, which has `lab/box:1`.
fn registry(bed: &Bed) {
    docker_archive(bed);
    let publish = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/publish.py");
    let config =
        "version: 0.1\nstorage: { filesystem: { rootdirectory: /mnt/scratch/registry } }\nhttp: { addr: \":5000\" }\n";
    bed.on("login", &format!("printf %b {config:?} >/mnt/scratch/registry.yml; mkdir /mnt/scratch/registry")).exits(0);
    bed.on("login", "setsid docker-registry serve /mnt/scratch/registry.yml >/dev/null 2>&1 </dev/null &").exits(0);
    let up = || bed.on("login", "curl -sf http://login:5000/v2/").code == 0;
    until("the registry answers", up);
    // No host but the laptop sees the machine's own files.
    for (from, to) in [(bed.path("box.tar").as_path(), "box.tar"), (Path::new(publish), "publish.py")] {
        fs::copy(from, bed.dir().join("scratch/hpc").join(to)).unwrap();
    }
    bed.on("login", "python3 /mnt/scratch/publish.py /mnt/scratch/box.tar login:5000 lab/box 1").exits(0);
}

#[test]
fn what_is_cancelled_while_its_image_comes_ends_that_and_leaves_no_image() {
    let bed = Bed::own(&["slurm"]);
    registry(&bed);
    let workflow = format!(
        "name = \"image\"\n[tasks.t]\nforeach = [1, 2]\ncontainer = \"docker://login:5000/lab/box:1\"\noutputs = [\"out/{{item}}\"]\n\
         run = \"echo {{item}} > {{outputs}}\"\nenv = {{ PATH = \"{}:/usr/bin:/bin\", APPTAINER_NOHTTPS = \"1\" }}\non = \"hpc\"\n",
        programs()
    );
    bed.write("workflow.toml", workflow);
    let pulls = |host: &str| bed.on(host, "pgrep -f '[a]pptainer.* pull|[c]sync make'").code == 0;
    let images = || bed.on("login", "ls ~/.csync/images 2>/dev/null | grep -E '[.](sif|image|digest)$'").out;
    // Jobs that reach no registry have it brought by the login node; others bring it themselves.
    for (run, compute) in [("1", false), ("3", true)] {
        let internet =
            format!("[hosts.hpc]\ncontainers = [\"apptainer\"]\ninternet = {{ login = true, compute = {compute} }}");
        configure(&bed, &HOSTS.replace("[hosts.hpc]", &internet));
        bed.on("login", "pkill -STOP docker-registry").exits(0);
        bed.csync(&["submit", "--rerun", "--detach"]).exits(0);
        let hosts: &[&str] = if compute { &["n1", "n2", "n3"] } else { &["login"] };
        until("its image is on its way", || hosts.iter().any(|host| pulls(host)));
        bed.csync(&["cancel", "last"]).exits(0);
        bed.csync(&["wait", "last"]).exits(130);
        let told: &[&str] =
            if compute { &["it was cancelled"] } else { &["it was cancelled", "nothing of it was submitted"] };
        why_says(&bed, "t[1]", told);
        let shown = bed.csync(&["show", run]).exits(0).out;
        assert!(shown.contains("2 cancelled"), "{shown}");
        nothing_left(&bed, "login");
        until("nobody brings it any more", || !hosts.iter().any(|host| pulls(host)));
        assert_eq!(images(), "");
        // The next one has it brought, and does not wait for anybody.
        bed.on("login", "pkill -CONT docker-registry").exits(0);
        bed.csync(&["submit", "--rerun"]).exits(0);
        assert_eq!((bed.read("out/1").as_str(), bed.read("out/2").as_str()), ("1\n", "2\n"));
        assert!(images().contains(".sif"), "{}", images());
        nothing_left(&bed, "login");
        bed.on("login", "rm -r ~/.csync/images").exits(0);
    }
}
