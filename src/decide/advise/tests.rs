//! What is said to lines, with a small world around them.

use std::collections::BTreeMap;

use super::*;
use crate::model::batch::Flavour;
use crate::model::host::Agents;
use crate::model::units::{Bytes, Walltime};
use std::sync::Arc;

/// A cluster `hpc` behind `gw`, a Grid Engine `grid`, a workstation `ws`; this machine is a laptop unless it says otherwise.
#[derive(Default)]
pub(super) struct World {
    here: Option<&'static str>,
    agents: Agents,
    scripts: BTreeMap<&'static str, &'static str>,
}

fn partition(name: &str, hours: u64, is_default: bool, gpus: bool) -> PartitionFacts {
    PartitionFacts {
        name: name.to_owned(),
        is_default,
        is_up: true,
        walltime_max: Some(Walltime(hours * 3600)),
        memory: Some(Bytes::gib(64)),
        cores: Some(32),
        gpus,
    }
}

impl World {
    fn get(&self, name: &str) -> Option<Arc<HostFacts>> {
        let (batch, partitions) = match name {
            "hpc" => (
                Some(Flavour::Slurm),
                vec![
                    partition("short", 1, true, false),
                    partition("gpu", 24, false, true),
                    partition("long", 48, false, false),
                ],
            ),
            "grid" => (Some(Flavour::Sge), vec![]),
            "pbs" => (Some(Flavour::Pbs), vec![]),
            "grid24" => {
                (Some(Flavour::Sge), vec![partition("all.q", 24, true, false), partition("long", 48, false, false)])
            }
            "pbs24" => {
                (Some(Flavour::Pbs), vec![partition("workq", 24, true, false), partition("long", 48, false, false)])
            }
            "ws" => (None, vec![]),
            _ => return None,
        };
        Some(Arc::new(HostFacts {
            name: name.to_owned(),
            batch,
            light: batch.is_some(),
            agents: self.agents,
            shared: vec!["/scratch".to_owned()],
            partitions,
            one_node_environment: (name == "grid").then(|| "smp".to_owned()),
            ..HostFacts::default()
        }))
    }
}

impl Facts for World {
    fn host(&self, name: &str) -> Option<Found> {
        let via = |jump: &str| Some(Way { jump: jump.to_owned(), ..Way::default() });
        let (host, way, is_node) = match name {
            "hpc" | "grid" | "ws" | "pbs" => (name, None, false),
            "node17" => ("hpc", via("hpc"), true),
            "10.1.2.3" => ("ws", via("gw"), false),
            "inner" => (
                "ws",
                Some(Way {
                    user: Some("ada".to_owned()),
                    port: Some(2222),
                    host_name: Some("10.1.2.3".to_owned()),
                    ..via("gw")?
                }),
                false,
            ),
            _ => return None,
        };
        Some(Found { host: self.get(host)?, way, is_node })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        self.get(self.here?)
    }

    fn request(&self, words: &[&str], _host: &str, _cwd: Option<&str>) -> Option<Learned> {
        let learned = |gib: u64, hours: u64, cores: u32| Learned {
            memory: Some(Bytes::gib(gib)),
            walltime: Some(Walltime(hours * 3600)),
            cores: Some(cores),
            source: "5 runs".to_owned(),
        };
        match words {
            ["python", "train.py", ..] => Some(learned(8, 2, 4)),
            ["bwa", ..] => Some(learned(16, 30, 1)),
            ["STAR", ..] => {
                Some(Learned { cores: Some(64), source: "its own options".to_owned(), ..Learned::default() })
            }
            ["gatk", ..] => Some(Learned { memory: Some(Bytes::mib(1152)), ..learned(0, 1, 1) }),
            _ => None,
        }
    }

    fn replicas(&self, path: &str, _host: &str) -> Vec<Replica> {
        let nas = Replica {
            host: "nas".to_owned(),
            path: path.to_owned(),
            bytes: Some(Bytes::gib(120)),
            seconds: Some(1200),
        };
        match path {
            "/data/reads.fq" => vec![nas],
            "/data/both.fq" => vec![nas, Replica { host: "local".to_owned(), ..Replica::default() }],
            _ => vec![],
        }
    }

    fn has_program(&self, name: &str) -> bool {
        matches!(name, "rg" | "fd")
    }

    fn has_variable(&self, _prefix: &str) -> bool {
        false
    }

    fn batch_script(&self, path: &str) -> Option<String> {
        self.scripts.get(path).map(|text| (*text).to_owned())
    }
}

fn said(world: &World, text: &str) -> Vec<(&'static str, String)> {
    let verdict = advise(text, "/proj", Mode::Advise, world);
    assert_eq!(verdict.rewritten, None, "{text}: advice alone changes nothing");
    verdict.advice.into_iter().map(|piece| (piece.kind.name(), piece.text)).collect()
}

fn kinds(world: &World, text: &str) -> Vec<&'static str> {
    said(world, text).into_iter().map(|(kind, _)| kind).collect()
}

fn changed(world: &World, mode: Mode, text: &str) -> Option<String> {
    advise(text, "/proj", mode, world).rewritten
}

#[test]
fn heavy_work_on_a_login_node_is_told_how_to_be_a_job() {
    let laptop = World::default();
    let said = said(&laptop, "ssh hpc 'cd x && python train.py --lr 1'");
    let [(kind, text)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(*kind, "login-node");
    assert_eq!(
        text,
        "`python` would run on the login node of hpc, where nothing heavy runs (policy.login_node = light). As a job, which \
         takes the files of this directory along: `csync submit --on hpc --cpus 4 --mem 8G --time 2h -- python train.py --lr 1`. \
         What lies on hpc already can be run by `sbatch --wrap` there. The request is from 5 runs."
    );
    for line in [
        "ssh hpc python train.py",
        "ssh hpc STAR --runThreadN 64",
        "ssh ada@hpc 'nohup python3.11 -u x.py > log 2>&1 &'",
        "ssh -q hpc \"bash -lc 'make -j8'\"",
        "ssh hpc 'bwa mem ref.fa a.fq | samtools sort -o a.bam'",
        "ssh hpc 'singularity exec --nv img.sif python x.py'",
        "ssh hpc 'conda run -n e python x.py'",
        "ssh hpc 'for f in *.fq; do bwa mem ref $f; done'",
        "ssh hpc \"python train.py --seed $SEED\"",
        "ssh hpc cd x '&&' python train.py $SEED",
        "ssh hpc apptainer exec img.sif bash -c \"'cd x; python train.py'\"",
        "ssh hpc <<EOF\npython x.py\nEOF",
        "ssh hpc \"cd $D && python x.py\"",
    ] {
        assert_eq!(kinds(&laptop, line).first(), Some(&"login-node"), "{line}");
    }
    // No node of the cluster has more cores than that; of the other nobody knows.
    for (host, cores) in [("hpc", "--cpus 32 "), ("grid", "--cpus 64 ")] {
        let told = self::said(&laptop, &format!("ssh {host} STAR --runThreadN 64"));
        assert!(told[0].1.contains(cores), "{told:?}");
    }
    for line in [
        "ssh hpc ls",
        "ssh hpc 'python --version'",
        "ssh hpc 'python -m pip install x'",
        "ssh hpc 'srun python x.py'",
        "ssh ws 'python x.py'",
        "ssh nowhere 'python x.py'",
        "python train.py",
        "ssh hpc 'python -c \"print(1)\"'",
        "ssh hpc 'sbatch --wrap \"python x.py\" -t 1 --mem 1 -c 1'",
        "ssh() { x; }; ssh hpc 'python x.py'",
        "ssh $H 'python x.py'",
        "ssh -L 8888:localhost:8888 hpc 'jupyter lab'",
        "ssh hpc \"python $SCRIPT\"",
        "ssh hpc \"echo '$X python train.py'\"",
    ] {
        assert!(!kinds(&laptop, line).contains(&"login-node"), "{line}");
    }
    let login = World { here: Some("hpc"), ..World::default() };
    assert_eq!(kinds(&login, "python x.py"), ["login-node"]);
    assert_eq!(kinds(&login, "cd /x && nice python x.py &"), ["login-node"]);
    let denied = World { agents: Agents::Deny, ..World::default() };
    let text = super::tests::said(&denied, "ssh hpc 'python train.py'").remove(0).1;
    assert!(text.contains("policy.agents = deny") && !text.contains("csync submit"), "{text}");
}

#[test]
fn a_submission_takes_the_place_of_ssh_only_where_that_was_asked_for() {
    let laptop = World::default();
    let line = "ssh -q hpc python train.py 'a b'";
    assert_eq!(changed(&laptop, Mode::Rewrite, line), None);
    let expected = "csync submit --on hpc --cpus 4 --mem 8G --time 2h -- python train.py a b";
    assert_eq!(changed(&laptop, Mode::Submit, line).as_deref(), Some(expected), "the other shell splits `a b`");
    assert_eq!(
        changed(&laptop, Mode::Submit, "echo x; ssh hpc 'bwa mem \"r f.fa\"' # c").as_deref(),
        Some("echo x; csync submit --on hpc --cpus 1 --mem 16G --time 1d6h -- bwa mem 'r f.fa' # c")
    );
    assert_eq!(
        changed(&laptop, Mode::Submit, "ssh hpc gatk x").as_deref(),
        Some("csync submit --on hpc --cpus 1 --mem 1152M --time 1h -- gatk x"),
        "no less than was learned"
    );
    for line in [
        "ssh hpc 'cd x && python train.py'",
        "ssh hpc python train.py | tee x",
        "ssh hpc python train.py < in",
        "x=$(ssh hpc python train.py)",
        "A=1 ssh hpc python train.py",
        "ssh -t hpc python train.py",
        "ssh hpc python train.py $X",
        "sudo ssh hpc python train.py",
        "for i in 1 2; do ssh hpc python train.py; done",
        "ssh hpc 'python train.py > log'",
        "ssh hpc 'A=1 python train.py'",
    ] {
        assert_eq!(changed(&laptop, Mode::Submit, line), None, "{line}");
    }
    let denied = World { agents: Agents::Deny, ..World::default() };
    assert_eq!(changed(&denied, Mode::Submit, "ssh hpc python train.py"), None);
}

#[test]
fn ssh_gets_its_jump_host() {
    let laptop = World::default();
    for (line, expected) in [
        ("ssh node17 hostname", "ssh -J hpc node17 hostname"),
        ("ssh ada@node17", "ssh -J hpc ada@node17"),
        ("ssh 10.1.2.3 'a  b' | cat", "ssh -J gw 10.1.2.3 'a  b' | cat"),
        ("ssh inner ls", "ssh -J gw -o HostName=10.1.2.3 -l ada -p 2222 inner ls"),
        ("ssh -p 22 bob@inner ls", "ssh -J gw -o HostName=10.1.2.3 -p 22 bob@inner ls"),
        ("timeout 5 ssh node17 ls; echo é", "timeout 5 ssh -J hpc node17 ls; echo é"),
        ("tar c x | ssh node17 'cat > y'", "tar c x | ssh -J hpc node17 'cat > y'"),
        ("ssh node17 << EOF\n  ssh node17 $HOME\nEOF", "ssh -J hpc node17 << EOF\n  ssh node17 $HOME\nEOF"),
        (
            "ssh node17 a & ssh inner b & wait",
            "ssh -J hpc node17 a & ssh -J gw -o HostName=10.1.2.3 -l ada -p 2222 inner b & wait",
        ),
    ] {
        assert_eq!(changed(&laptop, Mode::Rewrite, line).as_deref(), Some(expected));
        assert!(kinds(&laptop, line).contains(&"jump"), "{line}");
    }
    for line in [
        "ssh hpc ls",
        "ssh -J x node17",
        "ssh -oProxyCommand=x node17",
        "ssh -W a:1 node17",
        "ssh -N -L 1:a:1 node17",
        "ssh -O exit node17",
        "ssh -F f node17",
        "ssh $N ls",
        "x=$(ssh node17 ls)",
        "echo \"$(ssh node17)\"",
        "alias s='ssh node17'",
        "ssh -o \"$O\" node17",
        "cat <<EOF\nssh node17\nEOF",
        "f() { ssh node17; }",
        "ssh a ssh node17",
        "echo ssh node17",
        "echo node17 | xargs ssh node17",
        "ssh=1; function ssh { x; }; ssh node17",
    ] {
        assert_eq!(said(&laptop, line), [], "{line}");
        assert_eq!(changed(&laptop, Mode::Submit, line), None, "{line}");
    }
    let inside = World { here: Some("hpc"), ..World::default() };
    assert_eq!(said(&inside, "ssh node17 ls"), []);
    assert_eq!(changed(&laptop, Mode::Rewrite, "ssh node17 'rm -rf /scratch/x'"), None, "a danger is left as it is");
}

#[test]
fn submissions_get_what_they_lack() {
    let mut login = World { here: Some("hpc"), ..World::default() };
    login.scripts.insert(
        "/proj/job.sh",
        "#!/bin/bash\n#SBATCH --mem=4G # enough\n#SBATCH -c 2\n\nmodule load x\nsrun python train.py\n",
    );
    login.scripts.insert("/proj/sub/../job.sh", login.scripts["/proj/job.sh"]);
    login.scripts.insert("/proj/all.sh", "#!/bin/bash\n#SBATCH --mem=4G -t 1:00:00 -c 2 -p long\npython train.py\n");
    for (line, expected) in [
        (
            "srun python train.py",
            Some("srun --partition=long --cpus-per-task=4 --mem=8192M --time=02:00:00 python train.py"),
        ),
        ("srun -p gpu -n1 --mem=1G python train.py", Some("srun --time=02:00:00 -p gpu -n1 --mem=1G python train.py")),
        // A node of it has no more.
        ("srun STAR --runThreadN 64", Some("srun --cpus-per-task=32 STAR --runThreadN 64")),
        ("srun -c 2 STAR --runThreadN 64", None),
        ("sbatch --wrap 'bwa mem a'", Some("sbatch --partition=long --mem=16384M --time=30:00:00 --wrap 'bwa mem a'")),
        ("sbatch job.sh x", Some("sbatch --partition=long --time=02:00:00 job.sh x")),
        (
            "nohup sbatch --gres=gpu:1 job.sh &",
            Some("nohup sbatch --partition=gpu --time=02:00:00 --gres=gpu:1 job.sh &"),
        ),
        ("sbatch all.sh", None),
        ("sbatch unknown.sh", None),
        ("sbatch --wrap 'bwa mem a | samtools sort'", None),
        (
            "sbatch --wrap 'cd x; A=1 bwa mem a && ls'",
            Some("sbatch --partition=long --mem=16384M --time=30:00:00 --wrap 'cd x; A=1 bwa mem a && ls'"),
        ),
        ("cd sub && sbatch ../job.sh x", Some("cd sub && sbatch --partition=long --time=02:00:00 ../job.sh x")),
        ("sbatch $OPTS job.sh", None),
        ("srun --jobid=1 python train.py", None),
        ("srun hostname", None),
        ("jid=$(sbatch --parsable job.sh)", None),
        ("sbatch <<'EOF'\n#!/bin/bash\nsrun python train.py\nEOF", None),
        ("salloc -p short", None),
    ] {
        assert_eq!(changed(&login, Mode::Rewrite, line).as_deref(), expected, "{line}");
    }
    let text = |line: &str| said(&login, line).into_iter().map(|(_, text)| text).collect::<String>();
    assert_eq!(text("srun -p nope x"), "hpc has no partition `nope`; it has short, gpu, long.");
    assert_eq!(text("sbatch -t 2:00:00 --wrap x"), "Partition short of hpc allows 1h, and 2h is asked for.");
    assert_eq!(
        text("srun --mem=100G x"),
        "The largest node of partition short of hpc has 64G of memory, and 100G is asked for."
    );
    for line in [
        "sbatch -t 2:00:00\"$X\" --wrap x",
        "srun --mem=100G\"$X\" x",
        "srun -p nope\"$X\" x",
        "srun -n1\"$X\" -t 10 x",
    ] {
        assert_eq!(text(line), "", "{line}");
    }
    assert!(text("srun --pty bash").contains("terminal"));
    assert_eq!(kinds(&World::default(), "ssh hpc 'srun bwa mem x'"), ["request"], "advice reaches into the text");
    assert_eq!(changed(&World::default(), Mode::Rewrite, "ssh hpc 'srun bwa mem x'"), None, "a change does not");
    let grid = World { here: Some("grid"), ..World::default() };
    assert_eq!(
        changed(&grid, Mode::Rewrite, "qsub -cwd -b y python train.py").as_deref(),
        Some("qsub -pe smp 4 -l h_rt=02:00:00 -l h_vmem=2048M -cwd -b y python train.py")
    );
    assert_eq!(
        changed(&grid, Mode::Rewrite, "qsub -pe mpi 4 -b y python train.py").as_deref(),
        Some("qsub -l h_rt=02:00:00 -pe mpi 4 -b y python train.py"),
        "what it counts for each of these slots nobody learned"
    );
    let pbs = World { here: Some("pbs"), ..World::default() };
    assert_eq!(
        changed(&pbs, Mode::Rewrite, "qsub -l select=1:ncpus=4 -- python train.py").as_deref(),
        Some("qsub -l walltime=02:00:00 -l select=1:ncpus=4 -- python train.py")
    );
    assert_eq!(
        changed(&pbs, Mode::Rewrite, "qsub -N x -- python train.py").as_deref(),
        Some("qsub -l walltime=02:00:00 -l ncpus=4 -l mem=8192mb -N x -- python train.py")
    );
    assert_eq!(
        changed(&pbs, Mode::Rewrite, "qsub -l place=excl -- python train.py").as_deref(),
        Some("qsub -l walltime=02:00:00 -l place=excl -- python train.py")
    );
    assert_eq!(said(&World::default(), "srun python train.py"), [], "no batch system is known here");
}

#[test]
fn every_dialect_reads_the_amounts_in_its_own_way() {
    let mut pbs = World { here: Some("pbs24"), ..World::default() };
    pbs.scripts.insert("/proj/job.pbs", "#!/bin/sh\n#PBS -q workq -l walltime=36000,mem=1000000\npython train.py\n");
    pbs.scripts.insert("/proj/days.pbs", "#!/bin/sh\n#PBS -q workq\n#PBS -l walltime=90000\npython train.py\n");
    let mut grid = World { here: Some("grid24"), ..World::default() };
    grid.scripts.insert("/proj/job.sge", "#!/bin/sh\n#$ -q all.q -l h_rt=36000\npython train.py\n");
    grid.scripts.insert("/proj/days.sge", "#!/bin/sh\n#$ -l h_rt=90000 -q all.q\npython train.py\n");
    let limit = |host: &str, queue: &str, asked: &str| {
        format!("Partition {queue} of {host} allows 1d, and {asked} is asked for.")
    };
    let node = |host: &str, queue: &str, asked: &str| {
        format!("The largest node of partition {queue} of {host} has 64G of memory, and {asked} is asked for.")
    };
    for (world, line, expected) in [
        // Seconds are what most people write there.
        (&pbs, "qsub -q workq -l walltime=36000 -- python train.py", String::new()),
        (&pbs, "qsub -q workq -l walltime=90000 -- python train.py", limit("pbs24", "workq", "1d1h")),
        (&pbs, "qsub -q workq -l walltime=25:00:00 -- python train.py", limit("pbs24", "workq", "1d1h")),
        (&pbs, "qsub -q workq -l walltime=1500:00 -- python train.py", limit("pbs24", "workq", "1d1h")),
        (&pbs, "qsub -q workq -l walltime=1:00:00,mem=1000000 -- python train.py", String::new()),
        (&pbs, "qsub -q workq -l walltime=1:00:00,mem=100gb -- python train.py", node("pbs24", "workq", "100G")),
        (&pbs, "qsub -q workq -l walltime=1:00:00,mem=10gw -- python train.py", node("pbs24", "workq", "80G")),
        (&pbs, "qsub -q workq -l walltime=1-00:00:01 -- python train.py", String::new()),
        // What the shell puts behind a number makes another of it, and may ask for more than that.
        (&pbs, "qsub -q workq -l walltime=90000\"$X\" -- python train.py", String::new()),
        (&pbs, "qsub -q workq -l walltime=25:00:\"$X\" -- python train.py", String::new()),
        (&pbs, "qsub -q workq -l walltime=1:00:00,mem=100gb\"$X\" -- python train.py", String::new()),
        (&pbs, "qsub -q workq -l walltime=90000,mem=\"$X\" -- python train.py", limit("pbs24", "workq", "1d1h")),
        (&pbs, "qsub job.pbs", String::new()),
        (&pbs, "qsub days.pbs", limit("pbs24", "workq", "1d1h")),
        (&grid, "qsub -q all.q -l h_rt=36000 -b y python train.py", String::new()),
        (&grid, "qsub -q all.q -l h_rt=90000 -b y python train.py", limit("grid24", "all.q", "1d1h")),
        (&grid, "qsub -q all.q -l h_rt=25:: -b y python train.py", limit("grid24", "all.q", "1d1h")),
        (&grid, "qsub -q all.q -l h_rt=1:00:00,h_vmem=1000000 -b y python train.py", String::new()),
        (&grid, "qsub -q all.q -l h_rt=1:00:00,h_vmem=65g -b y python train.py", String::new()),
        (&grid, "qsub -q all.q -l h_rt=1:00:00,h_vmem=65G -b y python train.py", node("grid24", "all.q", "65G")),
        (&grid, "qsub -q all.q -l h_rt=25::\"$X\" -b y python train.py", String::new()),
        (&grid, "qsub job.sge", String::new()),
        (&grid, "qsub days.sge", limit("grid24", "all.q", "1d1h")),
    ] {
        let refused =
            said(world, line).into_iter().map(|(_, text)| text).filter(|text| !text.contains("asks for what is"));
        assert_eq!(refused.collect::<String>(), expected, "{line}");
    }
    // Nor is another queue asked for where the default has room for that.
    for (world, line) in [
        (&pbs, "qsub -l walltime=2000,mem=1gb,ncpus=1 -- python train.py"),
        (&grid, "qsub -pe mpi 4 -l h_rt=2000,h_vmem=1G -b y python train.py"),
        (&pbs, "qsub -l walltime=10\"$X\" -- bwa mem x"),
        (&grid, "qsub -l \"$LIMITS\" -b y bwa mem x"),
    ] {
        assert_eq!(changed(world, Mode::Rewrite, line), None, "{line}");
    }
    assert_eq!(
        changed(&pbs, Mode::Rewrite, "qsub -l mem=1gb,ncpus=1 -- bwa mem x").as_deref(),
        Some("qsub -q long -l walltime=30:00:00 -l mem=1gb,ncpus=1 -- bwa mem x")
    );
}

#[test]
fn waiting_data_and_searches() {
    let laptop = World::default();
    for line in [
        "while squeue -u me | grep -q R; do sleep 1; done",
        "until ! ssh hpc squeue -j 1; do sleep 5; done",
        "for i in 1 2 3; do qstat; sleep 2; done",
        "watch -n 1 squeue",
        "squeue -i 5 -u me",
        "watch -n1 'squeue -u me | tail'",
        "squeue --iterate=5",
        "while true; do scontrol show job 1; sleep 9; done",
    ] {
        assert_eq!(kinds(&laptop, line), ["poll"], "{line}");
    }
    for line in ["squeue", "while read x; do echo; done", "for i in 1; do sleep 1; done", "watch df", "sleep 1; squeue"]
    {
        assert_eq!(said(&laptop, line), [], "{line}");
    }
    let text = said(&laptop, "wc -l /data/reads.fq").remove(0).1;
    assert_eq!(
        text,
        "/data/reads.fq lies on nas, and csync knows of no copy on local. Bringing its 120G would take about 20m. A job on nas \
         would read it where it lies: `csync submit --on nas -- ...`."
    );
    assert_eq!(kinds(&laptop, "cd /data && wc --files=./reads.fq"), ["data"]);
    assert_eq!(kinds(&laptop, "cd /data && wc -l reads.fq"), ["data"]);
    assert_eq!(kinds(&laptop, "ssh hpc 'wc /data/both.fq'"), ["data"]);
    assert_eq!(kinds(&laptop, "wc < /data/reads.fq"), ["data"]);
    assert_eq!(kinds(&laptop, "cd /data && wc < reads.fq"), ["data"]);
    assert_eq!(kinds(&laptop, "while read x; do echo $x; done < /data/reads.fq"), ["data"]);
    for line in [
        "wc /data/both.fq",
        "sort < in > /data/reads.fq",
        "wc <<< /data/reads.fq",
        "wc < \"$F\"",
        "scp nas:/data/reads.fq .",
        "wc /data/other",
        "cd $X && wc reads.fq",
        "ssh new 'wc /data/reads.fq'",
    ] {
        assert_eq!(said(&laptop, line), [], "{line}");
    }
    for (line, better) in [
        ("grep -rn 'fn main' src", Some("rg -uuu --no-heading -n 'fn main' src")),
        ("grep -rl --include=*.rs TODO src", None),
        ("grep -rl --include='*.rs' TODO src", Some("rg -uuu --no-heading -l -g '*.rs' -N TODO src")),
        ("grep -rE 'a|b+' . | head", Some("rg -uuu --no-heading -N 'a|b+' .")),
        ("grep -r 'a\\(b' .", None),
        ("grep -r 'a{2}' .", None),
        ("grep -r x", None),
        ("grep -rI --exclude-dir=t --include='*.c' x .", Some("rg -uu --no-heading -g '*.c' -g '!**/t/**' -N x .")),
        ("grep -r --include='*.{c,h}' x .", None),
        ("grep -r --include='src/*.c' x .", None),
        ("grep -r 'a^b' .", None),
        ("grep -r 'a$b' .", None),
        ("grep -r '^a.*b$' .", Some("rg -uuu --no-heading -N '^a.*b$' .")),
        ("grep -rE 'a+?' .", None),
        ("grep -r 'a+?' .", None),
        ("grep -r '*a' .", None),
        ("grep -rE '(^a|b)c*' .", None),
        ("grep -rE 'x(a|b)+c?' .", Some("rg -uuu --no-heading -N 'x(a|b)+c?' .")),
        ("grep -rE '(a|)' .", None),
        ("egrep -r '()' .", None),
        ("grep -rF 'a{2}$b' .", Some("rg -uuu --no-heading -N -F 'a{2}$b' .")),
        ("grep x file", None),
        ("grep -rP x .", None),
        ("find . -type f -name '*.py'", Some("fd -u -s -t f -g '*.py' .")),
        ("find . -name '*.rs' | xargs grep TODO", None),
        ("find . -name x -delete", None),
        ("find . -name *.py", None),
    ] {
        let expected: Vec<String> = better
            .map(|better| {
                let program = better.split(' ').next().unwrap();
                format!("`{program}` is installed and finds the same faster: `{better}`.")
            })
            .into_iter()
            .collect();
        assert_eq!(said(&laptop, line).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected, "{line}");
    }
}

#[test]
fn dangers_are_named() {
    let laptop = World::default();
    for (line, word) in [
        ("ssh hpc 'rm -rf /scratch/old'", "/scratch is shared"),
        ("rm -rf /", "everything below"),
        ("sudo rm -fr /srv/", "everything below"),
        ("rm --recursive /usr/lib/x", "the system"),
        ("ssh -i key.pem user@host 'rm -rf /var/log'", "the system"),
        ("cd / && rm -rf home", "everything below"),
        ("bash -c 'rm -rf /etc'", "everything below"),
        ("scancel -u me", "`scancel -u`"),
        ("ssh hpc scancel --user=me", "`scancel --user`"),
        ("qdel -u me", "`qdel -u`"),
        ("mkfs.ext4 /dev/sdb1", "new filesystem"),
        ("dd if=x of=/dev/sda", "/dev/sda"),
        ("wipefs -a /dev/sda", "whole device"),
        ("ssh hpc 'cd r && git push --force'", "--force-with-lease"),
        ("git push -f git@host:r.git main", "--force-with-lease"),
        ("echo $(rm -rf /home)", "everything below"),
        ("git push -uf git@host:r.git main", "--force-with-lease"),
        ("scancel -Qu me", "`scancel -u`"),
        ("qdel '*'", "`qdel *`"),
        ("for j in $(squeue -h -o %i); do scancel $j; done", "every job that `squeue` lists"),
        ("find /home -type f -print0 | xargs -0 rm -f", "/home"),
        ("find /home -delete", "/home"),
        ("find /home -type f -exec rm -rf {} +", "/home"),
        ("> /dev/sda", "`>` overwrites the device /dev/sda"),
        ("cat x > /dev/sdb; ls", "/dev/sdb"),
        ("ssh hpc 'cat > /dev/nvme0n1' < x", "happen on hpc"),
        ("sudo sh -c 'echo > /dev/vda'", "/dev/vda"),
        ("for i in 1 2; do ls; done 2> /dev/sdc", "/dev/sdc"),
        ("tee /dev/sdb log < x", "whole device"),
    ] {
        let said = said(&laptop, line);
        assert!(said.first().is_some_and(|(kind, text)| *kind == "danger" && text.contains(word)), "{line}: {said:?}");
    }
    for line in [
        "rm -rf build",
        "rm -r ./x",
        "rm /scratch/x",
        "scancel 12",
        "git push",
        "git push --force",
        "dd if=a of=b",
        "dd of=/dev/null",
        "rm -rf \"$X\"/y",
        "git commit -m 'rm -rf /'",
        "cat <<'EOF'\nrm -rf /\nEOF",
        "git log --pretty=\"$(rm -rf /tmp/x)\"",
        "rm -rf /tmp/x /proj/target",
        "git push -uo f git@host:r.git",
        "scancel -v 12",
        "find /home -name '*.o' -print0 | xargs -0 rm -f",
        "find /home -type f -print0 | xargs -0 ls",
        "find /home -type f; rm -f x",
        "find /home -exec ls {} +",
        "ls > /dev/null 2> /dev/stderr",
        "ls 2> /dev/tty > /dev/shm/x",
        "cat < /dev/sda > image",
        "echo '> /dev/sda'",
        "cat <<EOF\n> /dev/sda\nEOF",
        "cd /scratch && find . -name '*.o' -exec rm -rf {} +",
    ] {
        assert_eq!(said(&laptop, line), [], "{line}");
    }
    let login = World { here: Some("hpc"), ..World::default() };
    assert_eq!(kinds(&login, "cd /scratch && rm -rf x"), ["danger"]);
}

#[test]
fn nothing_is_said_to_the_set_but_what_it_expects() {
    let set = include_str!("../../../tests/replies/hook/tricky.jsonl");
    let laptop = World::default();
    for line in set.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let (id, command) = (entry["id"].as_str().unwrap(), entry["command"].as_str().unwrap());
        let expected: &[&str] = match id {
            "t28" => &["danger"],
            "t41" => &["request"],
            _ => &[],
        };
        assert_eq!(kinds(&laptop, command), expected, "{id}: {command}");
        assert_eq!(changed(&laptop, Mode::Submit, command), None, "{id}");
    }
}

/// Lines that others' readers of shells fell over, each with what is to be said of it here; judged one by one by a person.
#[test]
fn nasty_lines_behave() {
    let job = "#!/bin/bash\n#SBATCH --mem=4G # enough\n#SBATCH -c 2\n\nmodule load x\nsrun python train.py\n";
    let lines = include_str!("../../../tests/replies/hook/lines.jsonl");
    let mut other = Vec::new();
    for line in lines.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let here = ["hpc", "grid", "pbs"].into_iter().find(|name| entry["here"] == *name);
        let world = World { here, scripts: [("/proj/job.sh", job)].into(), ..World::default() };
        let verdict = advise(entry["command"].as_str().unwrap(), "/proj", Mode::Rewrite, &world);
        let kinds: Vec<&str> = verdict.advice.iter().map(|piece| piece.kind.name()).collect();
        if serde_json::json!(kinds) != entry["advice"] || serde_json::json!(verdict.rewritten) != entry["rewritten"] {
            other.push(format!("{line}\n  {kinds:?} {:?}", verdict.rewritten));
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}
