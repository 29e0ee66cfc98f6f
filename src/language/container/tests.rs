use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::host::ContainerRuntime;
use crate::model::job::Invocation;
use crate::model::units::Bytes;

fn read(text: &str) -> String {
    match text.parse::<Image>() {
        Ok(image) => image.to_string(),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn images_are_read_as_people_write_them() {
    let digest = "a".repeat(64);
    for (text, image) in [
        ("docker://python:3.12-slim", "registry:python:3.12-slim"),
        ("python", "registry:python"),
        ("quay.io/biocontainers/star:2.7.11b--h43eeafb_2", "registry:quay.io/biocontainers/star:2.7.11b--h43eeafb_2"),
        ("docker://localhost:5000/a/b", "registry:localhost:5000/a/b"),
        ("library://lab/tools/bwa:1", "apptainer:library://lab/tools/bwa:1"),
        ("oras://ghcr.io/x/y:1", "apptainer:oras://ghcr.io/x/y:1"),
        ("images/tools.sif", "sif:images/tools.sif"),
        ("/shared/tools.sif", "sif:/shared/tools.sif"),
        ("~/tools.sif", "sif:~/tools.sif"),
        ("docker-archive:img", "docker-archive:img"),
        ("docker-archive:///x/img.tar", "docker-archive:/x/img.tar"),
        ("oci-archive:img.tar", "oci-archive:img.tar"),
        ("./saved.tar.gz", "docker-archive:./saved.tar.gz"),
        ("", "! it is empty"),
        ("docker://", "! it is empty"),
        ("docker-archive:", "! it is empty"),
        ("a\nb", "! there is a line end in its name"),
        (
            "./rootfs",
            "! `./rootfs` does not say what kind of file it is; write `docker-archive:./rootfs`, or `oci-archive:./rootfs`",
        ),
        (
            "https://x/y.sif",
            "! there are no images at `https:`; known are docker://, docker-archive:, oci-archive:, library://, oras://",
        ),
        ("python:", "! `python:` cannot be the name of an image: a tag has letters, digits, `_`, `.` and `-`"),
        (
            "Python",
            "! `Python` cannot be the name of an image: the parts of a name have small letters, digits, `_`, `.` and `-`",
        ),
        (
            "docker://--privileged",
            "! `--privileged` cannot be the name of an image: the parts of a name have small letters, digits, `_`, `.` and `-`",
        ),
        (
            "a@sha256:12",
            "! `a@sha256:12` cannot be the name of an image: after `@` stands `sha256:` and 64 hexadecimal digits",
        ),
    ] {
        assert_eq!(read(text), image, "{text}");
    }
    assert_eq!(read(&format!("a:1@sha256:{digest}")), format!("registry:a:1@sha256:{digest}"));
}

#[test]
fn binds_are_read_as_docker_and_apptainer_write_them() {
    for (entry, found) in [
        ("/ref", Ok("/ref")),
        ("ref", Ok("/w/ref")),
        (".", Ok("/w")),
        ("/ref:ro", Ok("/ref:/ref:ro")),
        ("/ref:/inside", Ok("/ref:/inside:rw")),
        ("./ref:/inside:ro", Ok("/w/ref:/inside:ro")),
    ] {
        assert_eq!(bind(entry, "/w/").as_deref(), found, "{entry}");
    }
    for entry in ["", ":/x", "/a:/b:rx", "/a:/b:ro:z", "~/x", "/a,/b", "/a\n/b"] {
        assert_eq!(bind(entry, "/w"), Err(BadBind::Shape(entry.to_owned())));
    }
    assert_eq!(bind("/a:b", "/w"), Err(BadBind::Inside("/a:b".to_owned())));
}

#[test]
fn a_command_is_wrapped_with_what_it_sees() {
    let image: Image = "docker://star:1".parse().unwrap();
    let wrapping = Wrapping {
        workdir: "/w/sub dir".to_owned(),
        directories: vec!["/w".to_owned()],
        binds: vec!["/ref:/ref:ro".to_owned()],
        inputs: vec!["/w/it's".to_owned()],
        env: vec!["TOKEN".to_owned()],
        cpus: 2,
        memory: Some(Bytes::gib(1)),
        gpus: 1,
        runtimes: vec![ContainerRuntime::Podman, ContainerRuntime::Docker],
        label: "a[1]".to_owned(),
    };
    let words = wrap(&Invocation::Argv(vec!["STAR".to_owned(), "a b".to_owned()]), &image, &wrapping);
    assert_eq!(words[..2], ["/bin/sh", "-c"]);
    assert!(!words[2].contains("\n#"), "comments stay at home");
    let end = "csync|run|registry:star:1|bind=/w|workdir=/w/sub dir|bind=/ref:/ref:ro|input=/w/it's|env=TOKEN|cpus=2|\
               mem=1073741824|gpus=1|runtimes=podman docker|--|STAR|a b";
    assert_eq!(words[3..].join("|"), end);
    let words = wrap(&Invocation::Script("echo $HOME".to_owned()), &image, &Wrapping::default());
    assert_eq!(words[words.len() - 3..], ["sh", "echo $HOME", ""]);
}

#[test]
fn an_image_is_known_by_one_name_however_it_is_written() {
    for (written, known) in [
        ("docker://python", Some("python:latest")),
        ("docker.io/library/python:3", Some("python:3")),
        ("localhost/box:1", Some("box:1")),
        ("localhost:5000/lab/box", Some("localhost:5000/lab/box:latest")),
        ("library://lab/tools/bwa:1", Some("library://lab/tools/bwa:1")),
        ("tools.sif", None),
        ("BOX", None),
    ] {
        assert_eq!(pulled_name(written).as_deref(), known, "{written}");
    }
}

proptest! {
    #[test]
    fn what_is_read_is_printed_so_that_it_is_read_alike(text in "[a-zA-Z0-9:/@.~_ -]{0,30}") {
        if let Ok(image) = text.parse::<Image>() {
            prop_assert_eq!(image.to_string().parse::<Image>(), Ok(image));
        }
    }

    #[test]
    fn no_name_of_an_image_is_an_option(text in "\\PC{0,20}") {
        if let Ok(Image::Registry(name) | Image::Apptainer(name)) = text.parse::<Image>() {
            prop_assert!(!name.starts_with('-') && !name.contains(char::is_whitespace), "{}", name);
        }
    }
}

const STAND_IN: &str = "#!/bin/sh\ncase $1 in image | pull) exit 0 ;; rm) exit 0 ;; esac\nprintf '%s\\n' \"$@\"\n";

fn program(dir: &Path, name: &str, text: &str) {
    let path = dir.join("bin").join(name);
    fs::create_dir_all(dir.join("bin")).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the prelude with the programs of a directory before others.
fn run_in(dir: &Path, variables: &[(&str, &str)], words: &[&str]) -> String {
    fs::write(dir.join("tools.sif"), "").unwrap();
    let prelude = dir.join("prelude.sh");
    fs::write(&prelude, include_str!("prelude.sh")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.arg(&prelude).arg("run").args(words).current_dir(dir).env_clear();
    command.env("HOME", "/u/ada").env("PATH", format!("{}:/usr/bin:/bin", dir.join("bin").display()));
    command.env("CSYNC_IMAGES", dir.join("images")).env("TMPDIR", dir).envs(variables.iter().copied());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    said.replace(&dir.display().to_string(), "DIR").replace('\n', " ")
}

/// Runs the prelude with stand-ins of runtimes, which print what they were started with.
fn run_with(programs: &[&str], variables: &[(&str, &str)], words: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for name in programs {
        program(dir.path(), name, STAND_IN);
    }
    run_in(dir.path(), variables, words)
}

#[test]
fn who_waits_for_the_end_learns_of_it_however_late_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    program(dir.path(), "docker", STAND_IN);
    // Who waits is started by `env`, and here not before the job is over.
    let go = dir.path().join("go");
    let late =
        format!("#!/bin/sh\n[ \"$1\" != -u ] || until [ -e {} ]; do :; done\nexec /usr/bin/env \"$@\"\n", go.display());
    program(dir.path(), "env", &late);
    run_in(dir.path(), &[("DOCKER_HOST", "tcp://lab:1")], &["registry:x", "runtimes=docker", "--", "x"]);
    let named = dir.path().as_os_str().as_encoded_bytes();
    let waits = || {
        let lines =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
        lines.filter(|line| line.windows(named.len()).any(|part| part == named)).count()
    };
    assert_eq!(waits(), 1, "it is about to begin");
    fs::write(go, "").unwrap();
    // A process between two programs has no words, so that its directory is waited for too.
    let left = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with("csync-")).count()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while waits() + left() > 0 {
        assert!(Instant::now() < deadline, "it waits for a job that is over, or its directory stays");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_granted_and_asked_for_is_what_a_runtime_is_started_with() {
    let nothing: &[(&str, &str)] = &[];
    let sif = "sif:tools.sif";
    for (programs, variables, words, has, has_not) in [
        (
            &["apptainer"][..],
            nothing,
            &[sif, "--", "x"][..],
            &["exec --contain --cleanenv"][..],
            &["--nv", "--rocm"][..],
        ),
        // Nobody granted any.
        (&["apptainer", "nvidia-smi"], nothing, &[sif, "--", "x"], &[], &["--nv"]),
        (&["apptainer", "nvidia-smi"], nothing, &[sif, "gpus=1", "--", "x"], &["--nv"], &["--rocm"]),
        (&["apptainer", "rocm-smi"], nothing, &[sif, "gpus=2", "--", "x"], &["--rocm"], &["--nv"]),
        (
            &["singularity", "rocm-smi", "nvidia-smi"],
            nothing,
            &[sif, "runtimes=singularity", "gpus=2", "--", "x"],
            &["--rocm", "--nv"],
            &[],
        ),
        (
            &["apptainer"],
            nothing,
            &[sif, "workdir=/w/sub", "bind=/w", "bind=/w/below", "bind=/ref:/inside:ro", "--", "x", "a b"],
            &["--bind /w ", "--bind /ref:/inside:ro", "--pwd /w/sub", "tools.sif x a b"],
            &["/w/below"],
        ),
        (
            &["docker", "nvidia-smi"],
            &[("DOCKER_HOST", "tcp://lab:1"), ("WORD", "in")],
            &["registry:x", "runtimes=docker", "gpus=1", "cpus=2", "mem=64", "env=WORD", "bind=/w", "--", "x"],
            &["--gpus all", "--memory 64 --memory-swap 64", "--cpus 2", "--env WORD", "--volume /w:/w", "--entrypoint"],
            &["--device"],
        ),
        (
            &["docker", "nvidia-smi"],
            &[("DOCKER_HOST", "tcp://lab:1"), ("CUDA_VISIBLE_DEVICES", "1,3")],
            &["registry:x", "runtimes=docker", "gpus=2", "--", "x"],
            &["--gpus \"device=1,3\"", "--env CUDA_VISIBLE_DEVICES"],
            &["--gpus all"],
        ),
        (
            &["docker", "rocm-smi"],
            &[("DOCKER_HOST", "tcp://lab:1")],
            &["registry:x", "runtimes=docker", "gpus=2", "--", "x"],
            &["--device /dev/kfd --device /dev/dri"],
            &["--gpus"],
        ),
    ] {
        let said = run_with(programs, variables, words);
        for text in has {
            assert!(said.contains(text), "{programs:?} {words:?}: {text} is not in {said}");
        }
        for text in has_not {
            assert!(!said.contains(text), "{programs:?} {words:?}: {text} is in {said}");
        }
    }
}

#[test]
fn limits_that_a_runtime_does_not_hold_are_named() {
    let sandbox = Sandbox::default();
    let held = |memory, pids| sandbox.ignored(Held { memory, pids });
    assert_eq!(held(Some(4 << 30), Some(512)), Vec::<&str>::new());
    assert_eq!(held(Some(25_000_000_000), Some(512)), ["memory"]);
    assert_eq!(held(None, None), ["memory", "processes"]);
    assert_eq!(held(Some(4 << 30), Some(0)), ["processes"]);
}

#[test]
fn names_of_files_stay_inside() {
    for (name, found) in [("a", Ok("a")), ("./a//b/.", Ok("a/b")), ("a..b/c", Ok("a..b/c"))] {
        assert_eq!(inside(name).as_deref(), found, "{name}");
    }
    for name in ["..", "../a", "a/../../b", "a/..", "/etc/passwd"] {
        assert_eq!(inside(name), Err(BadFile::Escapes(name.to_owned())));
    }
    assert_eq!(inside("./."), Err(BadFile::Empty));
}

#[test]
fn what_is_kept_on_a_host_is_read() {
    let text = "1081344 d9c1 docker-archive:/x/my box.tar\n   42 mine mine.sif\nrubbish\n";
    assert_eq!(
        read_list(text),
        [
            ("docker-archive:/x/my box.tar".to_owned(), "d9c1".to_owned(), Bytes(1_081_344)),
            ("mine.sif".to_owned(), "mine".to_owned(), Bytes(42)),
        ]
    );
    assert!(list_command("/a b").starts_with("cd '/a b' "));
}
