use proptest::prelude::*;

use super::*;
use crate::model::facts::Gpu;
use crate::model::host::{ContainerRuntime, Internet};
use crate::model::units::Bytes;

const MARK: &str = "csync-0123456789abcdef";

/// A cluster's login node, put together from what the commands of its parts print.
const CLUSTER: &str = r#"Welcome to the cluster!  (motd, from a .bashrc)

MARK login
user=ada
home=/u/ada
umask=0027
shell=/bin/tcsh

MARK machine
hostname=login1.hpc.example.org
kernel=Linux 4.18.0-513.el8.x86_64
arch=x86_64
distribution="Red Hat Enterprise Linux 8.9 (Ootpa)"
cores=64
memory=263855868

MARK environment
PATH=/opt/slurm/bin:/usr/bin:/bin
SCRATCH=/lustre/scratch/ada
LMOD_VERSION=8.7.31
LMOD_CMD=/opt/lmod/lmod/libexec/lmod
CONDA_EXE=

MARK batch
flavour=slurm
at=/opt/slurm/bin/sbatch
bin=/opt/slurm/bin
needs SLURM_CONF=/opt/slurm/etc/slurm.conf

MARK offers

@@csync version
slurm 22.05.8

@@csync-status 0

@@csync partitions
PartitionName=gpu AllowAccounts=ALL Default=NO MaxTime=2-00:00:00 State=UP TotalNodes=4

@@csync-status 0

MARK gpus
NVIDIA A100-SXM4-40GB, 40960, 535.54.03
NVIDIA A100-SXM4-40GB, 40960, 535.54.03
NVIDIA GH200 480GB, [N/A], 535.54.03
cuda=12.2

MARK amd

MARK containers
apptainer=apptainer version 1.2.5-1.el8
singularity=apptainer version 1.2.5-1.el8
docker=Docker version 20.10.24+dfsg1, build 297e128
docker-usable=no
podman=podman version 4.6.1

MARK modules
init=/usr/share/lmod/lmod/init/sh

MARK conda
/u/ada/a=b/bin/conda=conda 23.7.4

MARK tools
rsync=rsync  version 3.1.3  protocol version 31
tar=tar (GNU tar) 1.30
python3=Python 3.6.8
git=git version 2.39.3
sftp=yes
curl=curl 7.61.1 (x86_64-redhat-linux-gnu) libcurl/7.61.1

MARK internet
curl=28

MARK mounts
proc /proc proc rw 0 0
/dev/sda2 / xfs rw,seclabel 0 0
nfs1:/export/home /home nfs4 rw,vers=4.2 0 0
10.0.0.1@o2ib:/lfs /lustre lustre rw,flock 0 0
systemd-1 /net autofs rw 0 0
filer:/x /net nfs rw 0 0

MARK room
/dev/sda2 103019520 41207808 61811712 40% /
nfs1:/export/home 10737418240 5368709120 5368709120 50% /home
10.0.0.1@o2ib:/lfs 1125899906842624 900719925474099 225179981368525 80% /lustre

MARK scratch
$SCRATCH	/lustre/scratch/ada	10.0.0.1@o2ib:/lfs 1125899906842624 900719925474099 225179981368525 80% /lustre
by its name	/scratch/ada	/dev/sda2 103019520 41207808 61811712 40% /
home	/u/ada/.local/share	nfs1:/export/home 10737418240 5368709120 5368709120 50% /home

MARK quotas
quota Disk quotas for user ada (uid 1000): 
quota      Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
quota nfs1:/export/home 9437184* 8388608 10485760   6days   91234  0 0
lustre /lustre 536870912 0 1073741824 - 120000 0 0 -

MARK end
"#;

fn parsed(text: &str) -> Facts {
    parse(MARK, &text.replace("MARK", MARK))
}

#[test]
fn a_cluster_is_read() {
    let facts = parsed(CLUSTER);
    let batch = facts.batch.as_ref().unwrap();
    assert_eq!((batch.flavour(), batch.bin.as_deref()), (Flavour::Slurm, Some("/opt/slurm/bin")));
    assert_eq!(batch.env["SLURM_CONF"], "/opt/slurm/etc/slurm.conf");
    assert_eq!(batch.offers.version.as_deref(), Some("22.05.8"));
    assert_eq!(batch.offers.partitions[0].name, "gpu");
    let rest = Facts { batch: None, ..facts };
    insta::assert_snapshot!(serde_json::to_string_pretty(&rest).unwrap());
}

#[test]
fn what_a_host_of_another_kind_says_is_read() {
    let facts = parsed("MARK login\nuser=a\nMARK batch\nflavour=unknown\nat=/opt/moab/qsub\nMARK end");
    assert_eq!(facts.notes, ["/opt/moab/qsub is of a batch system that csync does not know"]);
    assert_eq!((facts.account.user.as_str(), facts.batch), ("a", None));
    for (flavour, is) in [("pbs", Some(Flavour::Pbs)), ("sge", Some(Flavour::Sge)), ("none", None)] {
        let facts = parsed(&format!("MARK batch\nflavour={flavour}\nMARK end"));
        assert_eq!(facts.batch.map(|batch| batch.flavour()), is);
    }
}

#[test]
fn an_answer_that_breaks_off_is_as_good_as_what_came() {
    let cut = CLUSTER.find("nfs1:/export/home 10737418240").unwrap();
    let facts = parsed(&CLUSTER[..cut]);
    assert_eq!((facts.filesystems.len(), facts.tools.len()), (1, 6));
    assert_eq!(facts.notes, ["the host stopped answering in the middle (room): a filesystem may hang"]);
    assert_eq!(parsed("nothing of ours").notes.len(), 1);
}

#[test]
fn gpus_of_amd_are_read_by_their_titles() {
    let table = "MARK amd\ndevice,VRAM Total Memory (B),VRAM Total Used Memory (B),Card series,Card model\n\
        card0,68702699520,1,AMD INSTINCT MI250X,0x0b0c\ncard1,68702699520,1,AMD INSTINCT MI250X,0x0b0c\n\
        system,Driver version\nMARK end";
    let gpu = Gpu {
        count: 2,
        model: "AMD INSTINCT MI250X".to_owned(),
        memory: Some(Bytes(68_702_699_520)),
        ..Gpu::default()
    };
    assert_eq!(parsed(table).machine.gpus, [gpu]);
    let no_driver =
        "MARK gpus\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, so, no\nMARK end";
    assert_eq!(parsed(no_driver).machine.gpus, []);
}

#[test]
fn only_what_says_so_is_no_internet() {
    for (said, login) in [
        ("curl=0", Some(true)),
        ("wget=0", Some(true)),
        ("curl=6", Some(false)),
        ("curl=28", Some(false)),
        ("wget=4", Some(false)),
        ("curl=60", None),
        ("wget=127", None),
        ("", None),
    ] {
        let facts = parsed(&format!("MARK internet\n{said}\nMARK end"));
        assert_eq!(facts.internet, Internet { login, compute: None }, "{said}");
    }
}

#[test]
fn a_runtime_is_known_by_what_it_says() {
    let facts = parsed("MARK containers\nsingularity=singularity-ce version 3.11.4\ndocker=\nMARK end");
    assert_eq!((facts.containers.len(), facts.containers[0].runtime), (1, ContainerRuntime::Singularity));
    assert_eq!(facts.containers[0].version, "3.11.4");
}

#[test]
fn clocks_are_compared_as_well_as_can_be() {
    for (printed, before, after, seconds, error) in [
        ("1000.500000000\n", 1000.4, 1000.6, 0.0, 0.1),
        ("4600.000000000\n", 1000.0, 1000.2, 3599.9, 0.1),
        // BusyBox prints the format, or nothing for it.
        ("1000.%N\n", 1000.4, 1000.6, 0.0, 0.6),
        ("1000.\n", 1000.4, 1000.6, 0.0, 0.6),
    ] {
        assert_eq!(skew(printed, before, after), Some(Skew { seconds, error }), "{printed}");
    }
    for bad in ["", "x", "-5.0", "Permission denied"] {
        assert_eq!(skew(bad, 0.0, 1.0), None, "{bad}");
    }
}

/// Answers that were recorded from real shells: `tests/replies/probe/README.md`.
#[test]
fn every_shell_tells_the_same() {
    let dash = parse(MARK, include_str!("../../../tests/replies/probe/dash.txt"));
    let bash = parse(MARK, include_str!("../../../tests/replies/probe/bash.txt"));
    let busybox = parse(MARK, include_str!("../../../tests/replies/probe/busybox.txt"));
    let belong = |name: &str| format!("the commands of {name} are installed and belong to no cluster");
    assert_eq!(dash.notes, [belong("Slurm"), belong("a Grid Engine")]);
    assert!(
        dash.account.user == "ada" && dash.machine.cores == Some(2) && dash.tools.contains_key("rsync"),
        "{dash:?}"
    );
    assert_eq!(dash.filesystems[0].mount, "/");
    assert_eq!(dash.scratch.last().unwrap().why, "home");
    for other in [bash, busybox] {
        assert_eq!(other.account, dash.account);
        assert_eq!(other.machine, dash.machine);
        assert_eq!(other.tools, dash.tools);
        assert_eq!(other.batch, dash.batch);
        assert_eq!(other.internet, dash.internet);
        assert_eq!(other.notes, dash.notes);
        let mounts = |facts: &Facts| facts.filesystems.iter().map(|it| it.mount.clone()).collect::<Vec<_>>();
        assert_eq!(mounts(&other), mounts(&dash));
    }
}

#[test]
fn the_script_is_one_that_every_shell_can_read() {
    let script = script(MARK, Policy::default());
    assert!(script.starts_with("(\nm=csync-") && script.ends_with(")\n"));
    assert!(!script.contains('\r') && script.is_ascii());
    for bashism in ["[[", "local ", "function ", "$'", "<<<", "echo -e", "&>", "pipefail", "source "] {
        assert!(!script.contains(bashism), "{bashism}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read(
        text in ".{0,300}",
        lines in prop::collection::vec(prop::sample::select(CLUSTER.lines().collect::<Vec<_>>()), 0..40),
    ) {
        parse(MARK, &text);
        let facts = parsed(&lines.join("\n"));
        let json = serde_json::to_string(&facts).unwrap();
        prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }
}

/// Runs the part of the script that finds out what is behind the commands, where these and no others are there; each prints a text
/// and ends with a status.
fn flavour(commands: &[(&str, &str, i32)]) -> Facts {
    let dir = tempfile::tempdir().unwrap();
    for tool in ["sh", "true", "cat", "head", "timeout"] {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|at| at.join(tool)).find(|at| at.exists());
        std::os::unix::fs::symlink(found.unwrap(), dir.path().join(tool)).unwrap();
    }
    for (name, says, status) in commands {
        let (program, text) = (dir.path().join(name), dir.path().join(format!("{name}.txt")));
        std::fs::write(&text, says).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\ncat '{}' >&2\nexit {status}\n", text.display())).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (_, rest) = SCRIPT.split_once("flavour=none\n").unwrap();
    let (asks, _) = rest.split_once("section offers").unwrap();
    let script = format!("m={MARK}\n{HEAD}\nhere=$PATH needs=\nsection batch\nflavour=none\n{asks}\nsection end\n");
    let done = std::process::Command::new("/bin/sh").args(["-c", &script]).env("PATH", dir.path()).output().unwrap();
    parse(MARK, &String::from_utf8(done.stdout).unwrap())
}

#[test]
fn the_flavour_behind_a_qsub_is_told_by_what_it_says() {
    let replies =
        |name: &str| std::fs::read_to_string(format!("{}/tests/replies/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    // Torque's commands in front of a Slurm: to what they do not know they say how they are used.
    let torque = replies("slurm-torque-22.05/qstat-x.err");
    assert!(torque.starts_with("Unknown option"));
    let wrapped = [("qsub", torque.as_str(), 2), ("qstat", torque.as_str(), 2)];
    let facts = flavour(&wrapped);
    assert_eq!(facts.batch, None);
    assert!(facts.notes[0].ends_with("/qsub is of a batch system that csync does not know"), "{:?}", facts.notes);
    let slurm = [("sbatch", "slurm 22.05.8", 0), ("squeue", "", 0)];
    let facts = flavour(&[&wrapped[..], &slurm].concat());
    assert_eq!(facts.batch.map(|batch| batch.flavour()), Some(Flavour::Slurm), "its own commands are asked");
    // OpenPBS and Grid Engine by the same names.
    let pbs = [("qsub", "", 0), ("qstat", "pbs_version = 23.06.06\n", 0)];
    assert_eq!(flavour(&pbs).batch.map(|batch| batch.flavour()), Some(Flavour::Pbs));
    let grid = [("qsub", "", 0), ("qstat", "SGE 8.1.9\nusage: qstat [options]\n", 0)];
    assert_eq!(flavour(&grid).batch.map(|batch| batch.flavour()), Some(Flavour::Sge));
    assert_eq!(flavour(&[("qsub", "", 0)]).batch, None, "a stray one");
}

/// Runs a script with a recorded `nvidia-smi` and a `curl` that ends with a status.
fn run_on_node(script: &str, curl: i32, env: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let smi = "case $1 in --query*) echo 'NVIDIA T9, 1024, 535.1' ;; *) echo '| CUDA Version: 12.2  |' ;; esac";
    for (name, text) in [("nvidia-smi", smi.to_owned()), ("curl", format!("exit {curl}"))] {
        let program = dir.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let done = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", path)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_job_sees_what_its_node_is() {
    let printed = run_on_node(&node_script(MARK, Policy::default()), 7, &[]);
    let sight = parse_node(MARK, &printed, Timestamp(5), false).unwrap();
    assert_eq!((sight.at, sight.internet, sight.node.is_empty()), (Timestamp(5), Some(false), false));
    let gpus = sight.gpus.unwrap();
    assert_eq!((gpus.len(), gpus[0].count, gpus[0].level.as_deref()), (1, 1, Some("12.2")));
    let seen = |printed: &str, has_gpus| parse_node(MARK, printed, Timestamp(5), has_gpus);
    assert_eq!(seen(&run_on_node(&node_script(MARK, Policy::default()), 0, &[]), false).unwrap().internet, Some(true));
    // A certificate that nobody believes says nothing of the network.
    assert_eq!(seen(&run_on_node(&node_script(MARK, Policy::default()), 60, &[]), false).unwrap().internet, None);
    // What was ended in the middle tells nothing; who was given a GPU and sees none tells that.
    assert_eq!(seen(printed.rsplit_once(MARK).unwrap().0, true), None);
    let blind = printed.replace("NVIDIA T9, 1024, 535.1", "");
    assert_eq!((seen(&blind, true).unwrap().gpus, seen(&blind, false).unwrap().gpus), (Some(Vec::new()), None));
}

#[test]
fn what_may_not_ask_the_internet_does_not() {
    let never = Policy { ask_internet: false, ..Policy::default() };
    // This one would say that there is internet.
    let printed = run_on_node(&node_script(MARK, never), 0, &[]);
    let sight = parse_node(MARK, &printed, Timestamp(5), false).unwrap();
    assert_eq!((sight.internet, sight.gpus.unwrap().len()), (None, 1), "{printed}");
    for text in [script(MARK, never), node_script(MARK, never), note_script("/s", never)] {
        assert!(!text.contains("github.com"), "{text}");
    }
    assert!(script(MARK, Policy::default()).contains("https://github.com"));
}

#[test]
fn what_a_job_notes_lies_among_the_records_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("it's one");
    std::fs::create_dir_all(place.join("news")).unwrap();
    let script = note_script(place.to_str().unwrap(), Policy::default());
    let env = [("SLURM_JOB_PARTITION", "gpu"), ("SLURM_GPUS_ON_NODE", "2")];
    run_on_node(&script, 7, &env);
    let note = std::fs::read_to_string(place.join("news/look")).unwrap();
    assert!(std::fs::read_to_string(place.join("looked/by")).is_ok(), "whose measure it may spoil is known");
    let news =
        crate::language::batch::wrapper::parse_news(format!("csync=1\nbad\n{note}csync=1\nend=1\ndone\n").as_bytes());
    assert_eq!((news.looks.len(), news.unreadable, news.complete), (1, 2, true));
    let read = NoteRead::of(&news.looks[0]).unwrap();
    assert_eq!((read.partition.as_str(), read.sight.internet), ("gpu", Some(false)));
    assert!(read.sight.gpus.is_some_and(|gpus| gpus[0].driver.as_deref() == Some("535.1")));
    assert!(read.sight.at > Timestamp(1_700_000_000_000_000));
    // Half of it is nothing, and the second member of an array does not look again.
    assert_eq!(NoteRead::of(&note[..note.len() / 2]), None);
    std::fs::remove_file(place.join("news/look")).unwrap();
    run_on_node(&script, 7, &env);
    assert!(!place.join("news/look").exists());
}
