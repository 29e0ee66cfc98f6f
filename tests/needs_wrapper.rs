//! The job wrapper where it works: under Slurm and Grid Engine, and on a host without a batch system.

use std::fs;
use std::path::PathBuf;

use csync::language::batch::wrapper::{
    Ended, How, Member, NewsRequest, Process, Record, Stage, batch_script, cancel_command, detach_command,
    news_command, parse_news, submission_files,
};
use csync::model::job::Invocation;
use csync::model::units::Bytes;

use crate::bed::Bed;
use crate::world::until;

/// A submission's directory on the scratch of a center.
struct Submission<'a> {
    bed: &'a Bed,
    /// As the hosts see it.
    there: String,
    /// As this machine does.
    here: PathBuf,
}

fn member(name: &str, script: &str) -> Member {
    Member {
        name: name.to_owned(),
        label: name.to_owned(),
        invocation: Invocation::Script(script.to_owned()),
        workdir: String::new(),
        env: vec![("GREETING".to_owned(), "it's\nhere".to_owned())],
        umask: 0o022,
        stdin: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        time: None,
        grace: 1,
        checkpoint: None,
        output_cap: None,
    }
}

impl<'a> Submission<'a> {
    fn new(bed: &'a Bed, host: &str, center: &str, members: &[Member]) -> Self {
        let there = bed.scratch(host);
        let here = bed.dir().join("scratch").join(center).join(there.rsplit_once('/').unwrap().1);
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let mut files = submission_files(&names).unwrap();
        for member in members {
            let workdir = format!("{there}/work");
            files.extend(Member { workdir, ..member.clone() }.files().unwrap());
        }
        for file in files {
            fs::create_dir_all(here.join(&file.path).parent().unwrap()).unwrap();
            fs::write(here.join(file.path), file.content).unwrap();
        }
        fs::write(here.join("batch.sh"), batch_script(&there)).unwrap();
        Self { bed, there, here }
    }

    fn record(&self, member: &str) -> Option<Record> {
        Record::parse(&fs::read_to_string(self.here.join(member).join("status")).ok()?)
    }

    fn wait(&self, member: &str) -> (Record, Ended) {
        until("a record of the end", || matches!(self.record(member), Some(Record { stage: Stage::Ended(_), .. })));
        let record = self.record(member).unwrap();
        let Stage::Ended(ended) = record.stage.clone() else { unreachable!() };
        (record, *ended)
    }

    fn wait_for_start(&self, member: &str) {
        until("it runs", || fs::read_to_string(self.here.join(member).join("stdout")).is_ok_and(|out| !out.is_empty()));
    }
}

#[test]
fn members_of_a_slurm_array_tell_how_they_ended() {
    let bed = Bed::shared();
    let makes = Member { outputs: vec!["made".to_owned()], ..member("one", "echo \"$GREETING\" | tee made") };
    let lacks = Member { outputs: vec!["not made".to_owned()], ..member("three", "true") };
    let submission = Submission::new(&bed, "login", "hpc", &[makes, member("two", "exit 3"), lacks]);
    let script = format!("cd {0} && sbatch --parsable --array=1-3 --mem=200 -o {0}/log batch.sh", submission.there);
    let id = bed.ssh("login", &script).exits(0).out;
    let (record, ended) = submission.wait("one");
    assert_eq!((ended.how, record.batch), (How::Exit(0), Some(format!("{}_1", id.trim()))));
    assert_eq!((record.granted.cpus, record.granted.mem), (Some(1), Some(Bytes::mib(200))));
    assert!(["n1", "n2", "n3"].contains(&record.host.as_str()));
    assert_eq!(fs::read_to_string(submission.here.join("work/made")).unwrap(), "it's\nhere\n");
    assert_eq!(submission.wait("two").1.how, How::Exit(3));
    assert_eq!(submission.wait("three").1.how, How::MissingOutputs(vec!["not made".to_owned()]));
    // The batch system sees the same codes.
    let of_two = format!("scontrol show job {}_2 | grep -o 'ExitCode=[0-9:]*'", id.trim());
    until("Slurm knows it", || bed.on("login", &of_two).out == "ExitCode=3:0\n");
}

#[test]
fn a_job_that_slurm_cancels_tells_of_the_signal() {
    let bed = Bed::shared();
    let script = "trap 'echo asked; exit 5' TERM; echo runs; while :; do sleep 0.05 || true; done";
    let submission = Submission::new(&bed, "login", "hpc", &[member("one", script)]);
    let sbatch = format!("cd {0} && sbatch --parsable -o {0}/log batch.sh", submission.there);
    let id = bed.ssh("login", &sbatch).exits(0).out;
    submission.wait_for_start("one");
    bed.ssh("login", &format!("scancel {id}")).exits(0);
    let (_, ended) = submission.wait("one");
    assert!(ended.signals.iter().any(|(name, _)| name == "TERM"), "{ended:?}");
    assert_eq!(ended.how, How::Exit(5));
}

#[test]
fn a_job_over_grid_engines_soft_limit_tells_of_the_warning() {
    let bed = Bed::shared();
    let submission = Submission::new(&bed, "grid", "grid", &[member("one", "echo runs; exec sleep 600")]);
    let qsub = format!("cd {0} && qsub -terse -l s_rt=0:0:2,h_rt=0:1:0 -j y -o {0}/log batch.sh", submission.there);
    let id = bed.ssh("grid", &qsub).exits(0).out;
    let (record, ended) = submission.wait("one");
    assert_eq!((record.batch.as_deref(), record.host.as_str()), (Some(id.trim()), "gridx"));
    assert_eq!(record.granted.cpus, Some(1));
    assert!(ended.signals.iter().any(|(name, after)| name == "USR1" && *after >= 1), "{ended:?}");
    assert_eq!(ended.how, How::Exit(128 + 10));
}

#[test]
fn members_of_a_pbs_array_are_found_by_their_index() {
    let bed = Bed::shared();
    let submission = Submission::new(&bed, "pbs", "pbs", &[member("one", "exit 0"), member("two", "exit 3")]);
    let qsub = format!(
        "cd {0} && /opt/pbs/bin/qsub -S /bin/sh -J 1-2 -j oe -o {0}/log.^array_index^ batch.sh",
        submission.there
    );
    let id = bed.ssh("pbs", &qsub).exits(0).out;
    let (record, ended) = submission.wait("two");
    assert_eq!((record.batch, ended.how), (Some(id.trim().replace("[]", "[2]")), How::Exit(3)));
    assert_eq!(record.granted.cpus, Some(1));
    assert_eq!(submission.wait("one").1.how, How::Exit(0));
}

#[test]
fn without_a_batch_system_members_outlive_the_login() {
    let bed = Bed::shared();
    let members = ["one", "two"].map(|name| member(name, "echo $$; exec sleep 600"));
    let submission = Submission::new(&bed, "station", "station", &members);
    // ssh returns although the members run on: nothing of them holds its pipes.
    let crew = bed.ssh("station", &detach_command(&submission.there, 2)).exits(0).out;
    let crew = Process::parse(&crew).expect("a process");
    submission.wait_for_start("one");
    submission.wait_for_start("two");
    let asked = || {
        let mut request = NewsRequest::default();
        request.records(&submission.there);
        request.alive(&crew, "crew");
        let ask = format!("printf %s {} | {}", quoted(request.text()), news_command(&submission.there));
        let news = parse_news(bed.ssh("station", &ask).exits(0).out.as_bytes());
        assert!(news.complete);
        news
    };
    let news = asked();
    assert_eq!(news.alive, [("crew".to_owned(), true)]);
    assert!(news.records.iter().all(|record| record.stage == Stage::Started) && news.records.len() == 2);
    let parent = bed.on("station", &format!("ps -o ppid= -p {}", crew.pid)).exits(0).out;
    assert_eq!(parent.trim(), "1", "nothing hangs on a login session");
    bed.ssh("station", &cancel_command(&submission.there, &[])).exits(0);
    for name in ["one", "two"] {
        assert_eq!(submission.wait(name).1.how, How::Cancelled(Some(143)));
    }
    until("nobody stays", || asked().alive == [("crew".to_owned(), false)]);
    submission.bed.on("station", "pgrep -f '^sleep 600$'").exits(1);
}

#[test]
fn what_a_python_program_prints_is_in_its_log_while_it_runs() {
    let bed = Bed::shared();
    for (host, center) in [("login", "hpc"), ("station", "station")] {
        let program = "import os, time\nprint('a line')\nwhile not os.path.exists('go'): time.sleep(0.05)";
        let submission =
            Submission::new(&bed, host, center, &[member("one", &format!("exec python3 -c \"{program}\""))]);
        if host == "login" {
            bed.on(host, &format!("sbatch -o /dev/null {}/batch.sh", submission.there)).exits(0);
        } else {
            bed.ssh(host, &detach_command(&submission.there, 1)).exits(0);
        }
        until("its line is there", || {
            fs::read_to_string(submission.here.join("one/stdout")).is_ok_and(|out| out == "a line\n")
        });
        assert_eq!(submission.record("one").unwrap().stage, Stage::Started, "and it runs");
        bed.on(host, &format!("touch {}/work/go", submission.there)).exits(0);
        assert_eq!(submission.wait("one").1.how, How::Exit(0));
    }
}

fn quoted(text: &str) -> String {
    csync::language::quote::sh(text).into_owned()
}
