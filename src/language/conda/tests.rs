use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::*;

/// Stands for conda, as far as its documentation says what it does: its command line, the hook for bash, and an environment that
/// has `bin` and `conda-meta`. It counts what it makes, and makes nothing of a file that says so.
const CONDA: &str = r#"#!/bin/sh
case "$1 $2" in
  'shell.bash hook' | 'shell hook')
    name=${0##*/}
    echo "$name() { [ \"\$1\" = activate ] && export CONDA_PREFIX=\"\$2\" PATH=\"\$2/bin:\$PATH\" PS1=\"\$unset\$PS1\"; }" ;;
  'env create' | 'create --quiet')
    [ "$CONDA_ALWAYS_YES" = true ] || exit 9
    while [ $# -gt 0 ]; do
      case $1 in --prefix) prefix=$2 ;; --file) file=$2 ;; esac
      shift
    done
    echo "$prefix" >>"$HOME/made"
    mkdir -p "$prefix/bin" "$prefix/conda-meta" || exit 1
    grep -q broken "$file" && { echo; echo 'ResolvePackageNotFound: nosuch' >&2; exit 1; }
    printf '#!/bin/sh\necho tool of %s\n' "$(cat "$file")" >"$prefix/bin/tool" && chmod +x "$prefix/bin/tool"
    sleep 0.2 ;;
  *) echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

fn install(home: &Path, name: &str) {
    let bin = home.join(format!("{name}-bin"));
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join(name), CONDA).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn start(home: &Path, program: &str, script: &str) -> Child {
    let path = format!("{}/{program}-bin:/usr/bin:/bin", home.display());
    let mut command = Command::new("bash");
    command.args(["-eo", "pipefail", "-c", script]).env_clear().env("HOME", home).env("PATH", path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(home: &Path, program: &str, script: &str) -> Output {
    start(home, program, script).wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_environment_of_a_file_is_made_once_and_active() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    for program in ["conda", "mamba", "micromamba"] {
        install(home, program);
        let file = home.join(format!("{program} env.yml"));
        fs::write(&file, program).unwrap();
        let script = format!("{}tool; echo \"$CONDA_PREFIX\"", activate(&file.display().to_string()));
        // All at the same moment.
        let all: Vec<Child> = (0..8).map(|_| start(home, program, &script)).collect();
        for child in all {
            let done = child.wait_with_output().unwrap();
            let said = text(&done.stdout);
            assert!(done.status.success(), "{said} {}", text(&done.stderr));
            assert!(said.starts_with(&format!("tool of {program}\n{}/.csync/conda/", home.display())), "{said}");
        }
        let made = fs::read_to_string(home.join("made")).unwrap();
        assert_eq!(made.lines().count(), 1, "{made}");
        fs::remove_file(home.join("made")).unwrap();
        // Another content is another environment.
        fs::write(&file, format!("{program} changed")).unwrap();
        let said = text(&run(home, program, &script).stdout);
        assert!(said.starts_with(&format!("tool of {program} changed\n")), "{said}");
        fs::remove_file(home.join("made")).unwrap();
    }
}

#[test]
fn an_environment_that_cannot_be_made_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    install(home, "conda");
    fs::write(home.join("bad.yml"), "broken").unwrap();
    let bad = home.join("bad.yml").display().to_string();
    let script = format!("{}echo went on", activate(&bad));
    for _ in 0..2 {
        let done = run(home, "conda", &script);
        let said = text(&done.stderr);
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(125), String::new()), "{said}");
        assert!(said.contains("cannot be made on") && said.contains("ResolvePackageNotFound: nosuch"), "{said}");
    }
    assert_eq!(fs::read_to_string(home.join("made")).unwrap().lines().count(), 2, "tried again");
    // One that was killed in the middle is no environment.
    fs::write(home.join("bad.yml"), "good").unwrap();
    let prefix = text(&run(home, "conda", &make(&bad, &home.join("x/images").display().to_string())).stdout);
    let prefix = prefix.trim_end().strip_prefix("conda ").unwrap().to_owned();
    assert!(prefix.starts_with(&home.join("x/conda").display().to_string()), "{prefix}");
    fs::remove_file(format!("{prefix}/.csync-made")).unwrap();
    fs::write(format!("{prefix}/half"), "").unwrap();
    run(home, "conda", &make(&bad, &home.join("x/images").display().to_string()));
    assert!(!Path::new(&format!("{prefix}/half")).exists() && Path::new(&format!("{prefix}/.csync-made")).exists());
    let gone = run(home, "conda", &activate("/nowhere/env.yml"));
    assert!(text(&gone.stderr).contains("there is no /nowhere/env.yml"), "{}", text(&gone.stderr));
    let none = run(home, "other", &activate(&bad));
    assert!(text(&none.stderr).contains("neither conda, mamba nor micromamba is on"), "{}", text(&none.stderr));
}

#[test]
fn one_that_is_there_is_activated_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    for program in ["conda", "mamba", "micromamba"] {
        install(home, program);
        let script = format!("{}echo \"$CONDA_PREFIX\"", activate("my env"));
        assert_eq!(text(&run(home, program, &script).stdout), "my env\n", "{program}");
    }
}

#[test]
fn files_are_told_from_names() {
    for (conda, file) in [
        ("env.yml", true),
        ("a/b.yaml", true),
        ("spec.txt", true),
        ("conda.lock", true),
        ("tools", false),
        ("/envs/x", false),
    ] {
        assert_eq!(is_file(conda), file, "{conda}");
    }
}
