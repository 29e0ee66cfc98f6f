//! A state directory on a real NFS, as where machines share the homes of people.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is done there, as one machine and as another that mounts the same.
const SCRIPT: &str = r#"
cd "$NFS" && mkdir work && cd work
echo 'name = "w"
[tasks.t]
foreach = { range = [1, 20] }
outputs = ["{item}"]
run = "echo start {item} >> journal; sleep 0.2; echo end {item} >> journal; echo {item} > {outputs[0]}"' > workflow.toml

echo "== doctor"; csync doctor
echo "== submit"; csync submit --detach
until grep -q 'end 3$' journal; do sleep 0.1; done
kill -9 "$(cut -d ' ' -f 1 "$NFS/state/engine.lock")"
csync runs
until grep -q 'end 9$' journal; do sleep 0.1; done
echo "== once"; grep -v start journal | sort | uniq -d; sort journal | uniq -d; echo none
kill -9 "$(cut -d ' ' -f 1 "$NFS/state/engine.lock")" $(pgrep -f 'csync.*worker')
echo "== wait"; csync wait; csync submit
echo "== ends"; grep end journal | sort -u | wc -l
echo "== files"; ls "$NFS/state"

elsewhere() {
  XDG_RUNTIME_DIR=$NFS/../served/other unshare --uts sh -c 'hostname other.example && exec "$@"' sh "$@"
}
mkdir -m 700 "$NFS/../served/other"
for command in submit status 'engine stop' doctor; do
  echo "== elsewhere $command"; elsewhere csync $command; echo "code $?"
done
csync engine stop
echo "== moved"; elsewhere csync submit; elsewhere csync engine stop
"#;

#[test]
fn a_state_on_nfs_survives_and_belongs_to_one_machine_at_a_time() {
    let dir = tempfile::Builder::new().prefix("csync-nfs").tempdir_in("/tmp").unwrap();
    let at = dir.path().join("machine");
    fs::create_dir(&at).unwrap();
    let script = dir.path().join("script");
    let program = Path::new(env!("CARGO_BIN_EXE_csync")).parent().unwrap().display();
    let head = format!("export PATH={program}:$PATH CSYNC_STATE=$NFS/state CSYNC_CPUS=2 NO_COLOR=1\n");
    fs::write(&script, head + SCRIPT).unwrap();
    let done =
        Command::new("tests/testbed/nfs.sh").arg("run").args([&at, &script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("no {name}: {text}"));
        rest.split("\n== ").next().unwrap().to_owned()
    };
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(part("doctor").contains("lies on a network filesystem"), "{text}");
    assert_eq!(part("once").trim(), "none", "where the engine alone was killed nothing ran twice: {text}");
    assert!(part("wait").contains("everything is up to date (20 instances)"), "nothing was lost: {text}");
    assert_eq!(part("ends").trim(), "20", "each came to its end: {text}");
    assert!(!text.contains("The engine waits"), "{text}");
    let files = part("files");
    assert!(files.contains("csync.db") && !files.contains("-wal") && !files.contains(".sock"), "{text}");
    for command in ["submit", "status", "engine stop", "doctor"] {
        let told = part(&format!("elsewhere {command}"));
        assert!(told.contains("uses this state directory (process"), "{told}");
        assert!(told.contains("CSYNC_STATE") && !told.contains("code 0"), "{told}");
    }
    assert!(part("moved").contains("everything is up to date"), "the other machine takes over: {text}");
}
