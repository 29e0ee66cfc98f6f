use proptest::prelude::*;

use crate::language::history::amounts::{bytes, clock, minutes, spans};
use crate::language::history::{Format, PastJob, Reader};
use crate::model::observation::{Cut, Trust};

fn read(text: &str) -> (Vec<PastJob>, u64) {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let mut reader = Reader::new(lines.next().expect("a first line"), "file").expect("it is known");
    let mut jobs: Vec<PastJob> = lines.filter_map(|line| reader.line(line)).collect();
    jobs.extend(reader.end());
    (jobs, reader.skipped())
}

#[test]
fn sacct_steps_belong_to_their_job() {
    let text = "JobID|JobName|State|ElapsedRaw|TotalCPU|MaxRSS|ReqMem|TimelimitRaw|End\n\
                7|align|COMPLETED|120|00:00:00||4G|60|2026-11-21T03:23:19\n\
                7.batch|batch|COMPLETED|120|03:20.500|3568K||||\n\
                7.0|align|COMPLETED|118|01:00.000|2M||||\n\
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
}

proptest! {
    #[test]
    fn any_text_is_read(first in prop_oneof![
        Just("JobID|State|MaxRSS|Elapsed"), Just("==="), Just("process\trealtime\tpeak_rss"), Just("s\tmax_rss")
    ], lines in prop::collection::vec(".{0,40}", 0..20)) {
        let mut reader = Reader::new(first, "x").expect("it is known");
        for line in &lines {
            reader.line(line);
        }
        reader.end();
    }
}
