use proptest::prelude::*;

use crate::language::history::amounts::{Moment, bytes, clock, minutes, moment, spans};
use crate::language::history::{Format, PastJob, PastWait, Reader};
use crate::model::observation::{Cut, Trust};

fn read(text: &str) -> (Vec<PastJob>, u64) {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let mut reader = Reader::new(lines.next().expect("a first line"), "file").expect("it is known");
    let mut jobs: Vec<PastJob> = lines.filter_map(|line| reader.line(line)).collect();
    jobs.extend(reader.end());
    (jobs, reader.skipped())
}

/// Returns how long jobs waited: id, partition, since when (seconds after three in the night of 2026-11-21), and how long.
fn waits(text: &str) -> Vec<(String, Option<String>, i64, f64)> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let mut reader = Reader::new(lines.next().expect("a first line"), "file").expect("it is known").with_waits();
    let mut all: Vec<PastWait> = Vec::new();
    for line in lines {
        reader.line(line);
        all.extend(reader.waited());
    }
    reader.end();
    all.extend(reader.waited());
    let three = i64::from(minutes("2026-11-21T03:00:00").unwrap()) * 60;
    all.into_iter().map(|wait| (wait.job, wait.queue, wait.since - three, wait.seconds)).collect()
}

#[test]
fn recorded_jobs_of_slurm_tell_what_they_waited() {
    let all = waits(include_str!("../../../tests/replies/slurm-24.11/sacct-P-X.out"));
    let of = |id: &str| -> Vec<(i64, f64)> {
        all.iter().filter(|(job, ..)| job == id).map(|(.., since, waited)| (*since, *waited)).collect()
    };
    assert!(all.iter().all(|(_, queue, ..)| queue.as_deref() == Some("debug")), "{all:?}");
    assert_eq!(of("1"), [(1397, 1.0)]);
    // What failed had waited all the same; what runs still, too.
    assert_eq!((of("9"), of("27")), (vec![(1399, 0.0)], vec![(1399, 94.0)]));
    // What waited for another job waited for the queue from then on.
    assert_eq!(of("19"), [(1401, 2.0)]);
    // Never started: pending, refused, called off.
    for id in ["5", "6", "29"] {
        assert_eq!(of(id), [], "{id}");
    }
    // Members of an array that may not run all at once, each from when its turn was.
    assert_eq!(of("18"), [(1399, 2.0), (1399, 3.0), (1403, 0.0), (1404, 0.0), (1404, 0.0), (1406, 1.0)]);
}

#[test]
fn what_a_job_waited_is_told_by_its_times_and_nothing_that_cannot_be() {
    let text = "JobID|JobName|State|ElapsedRaw|Partition|Submit|Eligible|Start|AllocCPUS|TimelimitRaw\n\
                1|a|COMPLETED|5|long|2026-11-21T03:00:00+0100|2026-11-21T03:00:00+0100|2026-11-21T03:00:30+0100|8|60\n\
                1|a|COMPLETED|5|long|2026-11-21T03:10:00|2026-11-21T03:10:05|2026-11-21T03:10:40|8|60\n\
                2|b|COMPLETED|5||2026-11-21T03:00:00|Unknown|2026-11-21T09:00:00|8|60\n\
                3|c|COMPLETED|5||2026-11-21T03:00:00|2026-11-21T03:00:00|2026-11-21T02:00:00|8|60\n\
                4|d|COMPLETED|5||2022-11-21T03:00:00|2022-11-21T03:00:00|2026-11-21T02:00:00|8|60\n\
                5|e|CANCELLED by 7|0||2026-11-21T03:00:00|2026-11-21T03:00:00|2026-11-21T05:00:00|8|60\n\
                6_7|f|CANCELLED by 7|9||2026-11-21T03:00:00|2026-11-21T02:00:00|2026-11-21T03:00:01|8|60\n\
                7+1|g|NODE_FAIL|9||2026-11-21T03:00:00|2026-11-21T03:00:00|2026-11-21T03:00:02|8|60\n\
                7.batch|g|COMPLETED|9||2026-11-21T03:00:00|2026-11-21T03:00:00|2026-11-21T03:30:02|8|\n\
                8|h|COMPLETED|5||soon|2026-13-21T03:00:00|2026-11-21T25:00:30|8|60\n";
    let long = || Some("long".to_owned());
    let id = |id: &str| id.to_owned();
    let expected =
        [(id("1"), long(), 0, 30.0), (id("1"), long(), 605, 35.0), (id("6"), None, 0, 1.0), (id("7"), None, 0, 2.0)];
    assert_eq!(waits(text), expected);
    let mut reader = Reader::new(text.lines().next().unwrap(), "x").unwrap().with_waits();
    reader.line(text.lines().nth(1).unwrap());
    let first = reader.waited().unwrap();
    assert_eq!((first.ahead, first.cores, first.asked, first.name.as_str()), (Some(3600), 8, 3600.0, "a"));
    assert_eq!(reader.waited(), None, "once");
    // Without a time from which a job could start, it is from when it was submitted.
    let old = "JobID|State|ElapsedRaw|Submit|Start\n1|COMPLETED|5|2026-11-21T03:00:00|2026-11-21T03:00:09\n";
    assert_eq!(waits(old), [(id("1"), None, 0, 9.0)]);
    assert_eq!(waits("JobID|State|ElapsedRaw|Start\n1|COMPLETED|5|2026-11-21T03:00:09\n"), []);
}

#[test]
fn recorded_jobs_of_grid_engine_tell_what_they_waited() {
    let queue = || Some("all.q".to_owned());
    let all = waits(include_str!("../../../tests/replies/sge-8.1.9/qacct-ARR.out"));
    assert_eq!(all[0], ("23".to_owned(), queue(), 30 * 60 + 39, 14.0));
    assert!(all.len() > 2 && all.iter().all(|(job, ..)| job == "23"), "{all:?}");
    let text = include_str!("../../../tests/replies/sge-8.1.9/qacct-HRT.out");
    let mut reader = Reader::new(text.lines().next().unwrap(), "x").unwrap().with_waits();
    text.lines().skip(1).for_each(|line| drop(reader.line(line)));
    reader.end();
    let wait = reader.waited().unwrap();
    assert_eq!((wait.seconds, wait.cores, wait.asked, wait.queue), (7.0, 1, 5.0, queue()));
    // What never started waited for nothing; other kinds of Grid Engine write times in other ways.
    let text = "====\njobnumber 1\nqsub_time 11/21/2026 03:00:00.123\nstart_time 11/21/2026 03:00:09.456\n====\n\
                jobnumber 2\nqsub_time Sat Nov 21 03:00:00 2026\nstart_time -/-\n====\n\
                jobnumber 3\nsubmission_time 2026-11-21 03:00:00.5\nstart_time 2026-11-21 03:00:07.1\n";
    assert_eq!(waits(text), [("1".to_owned(), None, 0, 9.0), ("3".to_owned(), None, 0, 7.0)]);
}

#[test]
fn sacct_steps_belong_to_their_job() {
    let text = "JobID|JobName|State|ElapsedRaw|TotalCPU|MaxRSS|ReqMem|TimelimitRaw|End|NTasks\n\
                7|align|COMPLETED|120|00:00:00||4G|60|2026-11-21T03:23:19|\n\
                7.batch|batch|COMPLETED|120|03:20.500|3568K||||1\n\
                7.0|align|COMPLETED|118|01:00.000|2M||||1\n\
                8|big|OUT_OF_MEMORY|10|00:01.000|||1|2026-11-21T03:24:00\n\
                8.batch|batch|OUT_OF_MEMORY|10||1G||||\n\
                9|slow|TIMEOUT|60|||100M|1|2026-11-21T03:25:00\n\
                10|bad|FAILED|60|||100M|1|Unknown\n\
                11|gone|CANCELLED by 1000|60|||100M|1|Unknown\n";
    let (jobs, skipped) = read(text);
    let told: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.memory, job.wall, job.cut)).collect();
    let expected = [
        ("align", 3568.0 * 1024.0, 120.0, Cut::Nothing),
        ("big", 1_073_741_824.0, 10.0, Cut::Memory),
        ("slow", 0.0, 60.0, Cut::Time),
    ];
    assert_eq!(told, expected);
    assert_eq!(skipped, 2);
    assert_eq!((jobs[0].cpu, jobs[0].asked_time, jobs[0].asked_memory), (200.5, 3600.0, 4.0 * 1_073_741_824.0));
}

#[test]
fn what_a_step_read_and_wrote_is_that_of_all_its_tasks() {
    // The tasks of a step, and of what they read the largest and the mean.
    for (tasks, largest, mean, expected) in [
        ("32", "3M", "2M", 64_u64),
        ("32", "3M", "", 96),
        ("1", "3M", "3M", 3),
        ("32", "500M", "1M", 500),
        ("", "3M", "2M", 0),
    ] {
        let text = format!(
            "JobID|JobName|State|ElapsedRaw|AllocCPUS|NTasks|MaxDiskRead|AveDiskRead|MaxDiskWrite|AveDiskWrite\n\
             7|solve|COMPLETED|60|32|||||\n7.0|solve|COMPLETED|60|32|{tasks}|{largest}|{mean}|0|0\n"
        );
        let (jobs, _) = read(&text);
        assert_eq!((jobs[0].io / f64::from(1 << 20)) as u64, expected, "{tasks} {largest} {mean}");
    }
}

#[test]
fn the_memory_of_a_step_is_that_of_all_its_tasks() {
    // The cores of the job, its step, and of that the tasks, MaxRSS and AveRSS.
    let of = |cores: &str, step: &str, tasks: &str, largest: &str, mean: &str| {
        let text = format!(
            "JobID|JobName|State|ElapsedRaw|AllocCPUS|NTasks|MaxRSS|AveRSS\n7|solve|COMPLETED|60|{cores}|||\n\
             7.extern|extern|COMPLETED|60||2|1M|1M\n7.{step}|solve|COMPLETED|60||{tasks}|{largest}|{mean}\n"
        );
        let mut lines = text.lines();
        let mut reader = Reader::new(lines.next().unwrap(), "file").unwrap();
        lines.for_each(|line| drop(reader.line(line)));
        let job = reader.end().expect("its time is known");
        (job.memory / f64::from(1 << 20), reader.partial())
    };
    for (cores, step, tasks, largest, mean, expected) in [
        // The mean is closer than the largest, and both are what one task had.
        ("32", "0", "32", "3072M", "2048M", (65_536.0, 0)),
        ("32", "0", "32", "3072M", "", (98_304.0, 0)),
        ("32", "0", "32", "3072M", "0", (98_304.0, 0)),
        // One large task among small ones.
        ("32", "0", "32", "50000M", "1M", (50_000.0, 0)),
        ("8", "0", "1", "3072M", "3072M", (3072.0, 0)),
        // The script is one task, and so is all in a job with one core.
        ("32", "batch", "", "3072M", "", (3072.0, 0)),
        ("1", "0", "", "3072M", "", (3072.0, 0)),
        // Of how many tasks that is nobody told: what all need is not known, and their time is.
        ("32", "0", "", "3072M", "3072M", (0.0, 1)),
        ("", "0", "", "3072M", "", (0.0, 1)),
        ("32", "0", "no", "3072M", "", (0.0, 1)),
        // Steps that were not measured say nothing.
        ("32", "0", "", "", "", (2.0, 0)),
    ] {
        assert_eq!(of(cores, step, tasks, largest, mean), expected, "{cores} {step} {tasks} {largest} {mean}");
    }
    // One job says nothing of the next.
    let text = "JobID|State|ElapsedRaw|MaxRSS\n1|COMPLETED|60|\n1.0|COMPLETED|60|3G\n2|COMPLETED|60|\n2.batch|COMPLETED|60|3G\n";
    let (jobs, _) = read(text);
    assert_eq!(jobs.iter().map(|job| job.memory > 0.0).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn when_jobs_of_grid_engine_ended_is_read() {
    let (jobs, _) = read(include_str!("../../../tests/replies/sge-8.1.9/qacct-HRT.out"));
    assert_eq!(jobs[0].at, minutes("2026-11-21T03:30:00").unwrap());
    let of = |end: &str| read(&format!("====\njobnumber 1\nru_wallclock 60\nend_time {end}\n")).0[0].at;
    assert_eq!(of("11/21/2026 03:30:52.123"), minutes("2026-11-21T03:30:00").unwrap());
    assert_eq!(of("2026-11-21 03:30:52"), minutes("2026-11-21T03:30:00").unwrap());
    for never in ["-/-", "", "Thu Jan  1 01:00:00 1970", "01/01/1970 00:00:00"] {
        assert_eq!(of(never), 0, "{never}");
    }
}

#[test]
fn rows_without_a_number_are_told_apart_by_what_they_say() {
    let head = "s\th:m:s\tmax_rss\tcpu_time\n";
    let ids = |text: &str| read(text).0.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let (a, b) = (ids(&format!("{head}12.5\t0:00:12\t100\t11\n")), ids(&format!("{head}13.5\t0:00:13\t100\t11\n")));
    assert_ne!(a, b, "the first rows of two files");
    assert_eq!(ids(&format!("{head}13.5\t0:00:13\t100\t11\n12.5\t0:00:12\t100\t11\r\n")), [b, a].concat());
    // A trace numbers its tasks anew each time.
    let of = |head: &str, rows: [&str; 2]| {
        let [a, b] = rows.map(|row| ids(&format!("{head}\n{row}\n")));
        a == b
    };
    assert!(!of("task_id\tname\trealtime", ["1\tX\t1s", "1\tX\t2s"]));
    assert!(!of("process\trealtime", ["X\t1s", "X\t2s"]));
    assert!(of("hash\tprocess\trealtime", ["ab/12\tX\t1s", "ab/12\tX\t1.0s"]));
    assert!(of(
        "task_id\tname\tcomplete\trealtime",
        ["1\tX\t2026-11-21 03:30:52\t1s", "1\tX\t2026-11-21 03:30:52\t1.0s"]
    ));
}

#[test]
fn every_report_is_believed_as_far_as_it_measures() {
    let of = |text: &str| read(text).0.iter().map(|job| job.trust).collect::<Vec<_>>();
    let sacct = "JobID|JobName|State|ElapsedRaw|MaxRSS|End\n7|align|COMPLETED|120|9M|2026-11-21T03:23:19\n";
    assert_eq!(of(sacct), [Trust::Low], "sampled every half minute, of single steps");
    let nextflow = "task_id\tprocess\tstatus\texit\trealtime\tpeak_rss\n1\tALIGN\tCOMPLETED\t0\t2m\t9 MB\n";
    assert_eq!(of(nextflow), [Trust::Fair]);
    assert_eq!(of("s\th:m:s\tmax_rss\n12.5\t0:00:12\t30.0\n"), [Trust::Fair]);
    let qacct = "==============\njobname align\njobnumber 7\nru_wallclock 60\nmaxrss 9000\nfailed 0\nexit_status 0\n";
    assert_eq!(of(qacct), [Trust::Fair]);
}

#[test]
fn recorded_replies_are_read() {
    let text = include_str!("../../../tests/replies/slurm-24.11/sacct-P-X.out");
    let (jobs, _) = read(text);
    assert!(jobs.len() > 2, "{}", jobs.len());
    assert!(jobs.iter().all(|job| job.wall >= 0.0 && job.at > 0), "{jobs:?}");
}

#[test]
fn every_recorded_shape_of_sacct_is_read_or_refused_with_what_it_lacks() {
    let of = |text: &'static str| Reader::new(text.lines().next().expect("a first line"), "file");
    let units = include_str!("../../../tests/replies/slurm-24.11/sacct-P-units.out");
    let (jobs, _) = read(units);
    let of_16 = jobs.iter().find(|job| job.id == "16").expect("it is there");
    assert_eq!((of_16.memory, of_16.asked_memory), (11_104.0 * 1024.0, 51_200.0 * 1024.0));
    let live = include_str!("../../../tests/replies/slurm-24.11/sacct-live.out");
    assert!(read(live).0.iter().any(|job| job.name == "wrap" && (job.wall - 1.0).abs() < 1e-9));
    for bare in [
        include_str!("../../../tests/replies/slurm-24.11/sacct-parsable.out"),
        include_str!("../../../tests/replies/slurm-24.11/sacct-P-D.out"),
    ] {
        assert!(of(bare).expect("it is sacct's").lacks().is_some_and(|lacks| lacks.contains("Elapsed")));
    }
    assert!(of(include_str!("../../../tests/replies/slurm-24.11/sacct-default.out")).is_none());
    assert!(of(include_str!("../../../tests/replies/slurm-24.11/sacct-fields.out")).is_none());
}

#[test]
fn an_accounting_database_exports_commas() {
    let text = "job_id,user,wallclock_req,mem_req,end_time,run_time,state,name,submit_line\n\
                532209,u,172800.0,0.0,2019-01-02 12:39:41,99825.0,COMPLETED,\"fit, all\",\"sbatch -N 1, x\"\n\
                532210,u,3600,-5,2019-01-02 12:39:41,-7,COMPLETED,fit,x\n";
    let (jobs, skipped) = read(text);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!((jobs[0].name.as_str(), jobs[0].wall, jobs[0].asked_time), ("fit, all", 99_825.0, 172_800.0));
    assert_eq!(skipped, 1, "a run time below zero is none");
}

#[test]
fn memory_asked_for_each_core_counts_for_all() {
    let text = "JobID|State|Elapsed|AllocCPUS|ReqMem\n1|COMPLETED|00:01:00|8|4Gc\n2|COMPLETED|00:01:00|8|4Gn\n";
    let (jobs, _) = read(text);
    let asked: Vec<f64> = jobs.iter().map(|job| job.asked_memory / 1_073_741_824.0).collect();
    assert_eq!(asked, [32.0, 4.0]);
}

#[test]
fn nextflow_traces_with_either_spelling() {
    let pretty = "task_id\thash\tprocess\tstatus\texit\trealtime\t%cpu\tpeak_rss\trchar\n\
                  1\tab/12\tNF:RNASEQ:SAMTOOLS_SORT\tCOMPLETED\t0\t1h 2m 3s\t150.0%\t1.5 GB\t2 MB\n\
                  2\tab/13\tX\tFAILED\t1\t1s\t1%\t1 GB\t1 MB\n";
    let raw = "task_id,hash,process,status,exit,realtime,%cpu,peak_rss,rchar\n1,ab/12,fastqc,COMPLETED,0,3723000,150,1610612736,2097152\n";
    let (first, skipped) = read(pretty);
    let (second, _) = read(raw);
    for jobs in [&first, &second] {
        assert_eq!((jobs[0].wall, jobs[0].memory, jobs[0].input), (3723.0, 1_610_612_736.0, 2_097_152.0));
    }
    assert_eq!((first.len(), skipped), (1, 1));
    assert_eq!(first[0].words(), ["samtools", "sort"]);
    assert_eq!(second[0].words(), ["fastqc"]);
}

#[test]
fn benchmarks_of_snakemake_are_named_by_their_file() {
    let text = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n12.5\t0:00:12\t100.00\t-\t-\t-\t1.0\t2.0\t90\t11.2\n";
    let (jobs, _) = read(text);
    assert_eq!((jobs[0].name.as_str(), jobs[0].wall, jobs[0].memory), ("file", 12.5, 104_857_600.0));
}

#[test]
fn qacct_blocks_are_jobs() {
    let text = "==============\nqname all.q\njobname sort\njobnumber 12\ntaskid undefined\nfailed 0\nexit_status 0\nru_wallclock 61s\ncpu 60.5s\nmaxvmem 2.000G\n\
                ==============\njobname bad\njobnumber 13\nfailed 37 : x\nexit_status 137\nru_wallclock 1\nmaxvmem 1G\n";
    let (jobs, skipped) = read(text);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!((jobs[0].name.as_str(), jobs[0].wall, jobs[0].memory), ("sort", 61.0, 2_147_483_648.0));
    assert_eq!(skipped, 1);
}

#[test]
fn what_grid_engine_killed_at_its_limit_says_so() {
    let (jobs, skipped) = read(include_str!("../../../tests/replies/sge-8.1.9/qacct-HRT.out"));
    let told: Vec<_> = jobs.iter().map(|job| (job.wall, job.asked_time, job.cut)).collect();
    assert_eq!((told.as_slice(), skipped), ([(6.0, 5.0, Cut::Time)].as_slice(), 0));
    let block = |rest: &str| {
        format!("======\njobname a\njobnumber 1\nru_wallclock 60s\n{rest}category -pe smp 2 -l h_vmem=2G,h_rt=")
    };
    let of = |text: &str| read(text).0.iter().map(|job| (job.asked_time, job.cut)).collect::<Vec<_>>();
    assert_eq!(of(&(block("failed 0\nexit_status 0\n") + "90")), [(90.0, Cut::Nothing)]);
    // It failed, long before its limit.
    assert_eq!(of(&(block("failed 0\nexit_status 1\n") + "90")), []);
}

#[test]
fn what_no_machine_does_counts_as_not_told_and_units_may_be_mixed() {
    let is_sane = |job: &PastJob| {
        let all = [job.input, job.memory, job.wall, job.cpu, job.io, job.asked_memory, job.asked_time];
        all.iter().all(|value| value.is_finite() && *value >= 0.0)
    };
    let mixed = "JobID|JobName|State|ElapsedRaw|Elapsed|TotalCPU|MaxRSS|ReqMem|AllocCPUS|TimelimitRaw|End\n\
                 1|a|COMPLETED|-60|00:02:00|-1|1.5G|4Gc|inf|NaN|2026-11-20T01:00:00\n\
                 2|b|COMPLETED|inf||1e999|3145728K|-4G|2|-5|0000-00-00T00:00:00\n\
                 3|c|COMPLETED|NaN||||5X|||Unknown\n\
                 4|d|COMPLETED|30||00:10|2048M|512|4|10|2026-11-20T02:00:00\n\
                 5|e\n|f|COMPLETED|10\n";
    let (jobs, skipped) = read(mixed);
    let told: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.memory / 1_073_741_824.0, job.wall)).collect();
    assert_eq!(told, [("a", 1.5, 120.0), ("b", 3.0, 0.0), ("d", 2.0, 30.0)]);
    assert!(jobs.iter().all(is_sane), "{jobs:?}");
    assert_eq!(skipped, 3, "one of nothing but nonsense, one that was cut off, one of no job");
    let trace = "hash\tprocess\tstatus\trealtime\t%cpu\tpeak_rss\trchar\twchar\tmemory\n\
                 1\tX\tCOMPLETED\t1s\tinf%\t1 GB\t-5 MB\t2 QB\t-1 GB\n\
                 2\tX\tCOMPLETED\t-3s\t-7%\t512000 KB\t1 MB\t1 MB\t1 TB\n\
                 3\tX\tCOMPLETED\tNaN\t-\t-\t-\t-\t-\n\
                 4\tX\n";
    let (jobs, skipped) = read(trace);
    assert_eq!(
        jobs.iter().map(|job| (job.memory, job.wall)).collect::<Vec<_>>(),
        [(1_073_741_824.0, 1.0), (524_288_000.0, 0.0)]
    );
    assert!(jobs.iter().all(is_sane) && skipped == 2, "{jobs:?} {skipped}");
    let bench = "s\tmax_rss\tio_in\tio_out\tcpu_time\n5\t-3\tNA\tinf\tNaN\n-5\t100\t1\t1\t1\ninf\t1\t1\t1\t1\n7\n";
    let (jobs, skipped) = read(bench);
    assert_eq!(
        jobs.iter().map(|job| (job.wall, job.memory, job.io)).collect::<Vec<_>>(),
        [(5.0, 0.0, 0.0), (7.0, 0.0, 0.0)]
    );
    assert!(jobs.iter().all(is_sane) && skipped == 2, "{jobs:?} {skipped}");
    let (jobs, _) =
        read("==============\njobname x\njobnumber 1\nru_wallclock inf\ncpu -3\nmaxvmem -1G\nwallclock 8\n");
    assert!(jobs.len() == 1 && jobs.iter().all(is_sane), "{jobs:?}");
}

#[test]
fn amounts_are_read_as_they_are_spelled() {
    assert_eq!(bytes("1.5G", 1.0), Some(1_610_612_736.0));
    assert_eq!(bytes("512", 1024.0), Some(524_288.0));
    assert_eq!((bytes("-5K", 1.0), bytes("x", 1.0), bytes("5Q", 1.0)), (None, None, None));
    assert_eq!((clock("1-02:03:04"), clock("01:02.5"), clock("a")), (Some(93_784.0), Some(62.5), None));
    assert_eq!(
        (spans("1m 30s"), spans("500ms"), spans("1500"), spans("soon")),
        (Some(90.0), Some(0.5), Some(1.5), None)
    );
    assert_eq!((minutes("1970-01-02T00:01:00"), minutes("Unknown")), (Some(1441), None));
    assert_eq!(minutes("2026-11-21 00:00:00"), Some(20_778 * 1440));
    assert_eq!(Format::of("something else"), None);
    let at = |text| moment(text).map(|at| (at.seconds, at.ahead));
    let noon = 20_778 * 86_400 + 43_200;
    assert_eq!(at("2026-11-21T12:00:00"), Some((noon, None)));
    assert_eq!(at("2026-11-21T12:00:00-0530"), Some((noon, Some(-19_800))));
    assert_eq!(moment("2026-11-21T12:00:00-0530").map(Moment::order), Some(noon + 19_800));
    assert_eq!(at("Sat Nov  1 12:00:00 2026"), Some((noon - 20 * 86_400, None)));
    for nothing in ["None", "Unknown", "-/-", "", "é", "2026-00-21T12:00:00", "2026-11-21T12:61:00"] {
        assert_eq!(moment(nothing), None, "{nothing}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read(first in prop_oneof![
        Just("JobID|State|Elapsed|Submit|Start"), Just("==="), Just("process\trealtime\tpeak_rss"), Just("s\tmax_rss")
    ], lines in prop::collection::vec(".{0,40}", 0..20)) {
        let mut reader = Reader::new(first, "x").expect("it is known").with_waits();
        for line in &lines {
            reader.line(line);
            reader.waited();
        }
        reader.end();
    }
}

#[test]
fn what_grid_engine_granted_of_memory_is_read_with_the_time() {
    let asked = |category: &str| {
        let text = format!(
            "======\njobname a\njobnumber 1\nru_wallclock 60s\nmaxrss 100M\nfailed 0\nexit_status 0\n{category}\n"
        );
        let (jobs, _) = read(&text);
        (jobs[0].asked_memory / f64::from(1 << 30), jobs[0].asked_time)
    };
    assert_eq!(asked("category -pe smp 2 -l h_vmem=2G,h_rt=600"), (4.0, 600.0));
    assert_eq!(asked("category -l h_rt=600,h_vmem=512M"), (0.5, 600.0));
    assert_eq!(asked("hard_resources h_vmem=3G"), (3.0, 0.0));
    assert_eq!(asked("category -l h_vmem=2G -pe smp 2-8"), (0.0, 0.0), "how many it got is not told there");
    assert_eq!(asked("category -l h_rt=600"), (0.0, 600.0));
}
