//! From the text of a workflow to plan and commands.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use csync::language::batch::parse_queue;
use csync::language::manifest::{self, Facts, Limits};
use csync::model::batch::{Flavour, Reply};
use csync::model::id::InstanceId;
use csync::model::plan::Plan;
use csync::model::resources::{Grant, Hold};
use csync::model::units::Bytes;

const HEAD: &str = "name = \"bench\"\nschema = 1\n";

/// Layers of explicit tasks, each reading two files of the layer before.
fn explicit(width: usize) -> String {
    let mut text = HEAD.to_owned();
    for layer in 0..10 {
        for i in 0..width {
            let _ = writeln!(
                text,
                "[tasks.t{layer}_{i}]\noutputs = [\"f{layer}_{i}\"]\nrun = \"cat {{inputs}} > {{outputs[0]}}\""
            );
            let _ = match layer {
                0 => writeln!(text, "inputs = [\"source\"]"),
                _ => writeln!(text, "inputs = [\"f{0}_{i}\", \"f{0}_{1}\"]", layer - 1, (i + 1) % width),
            };
        }
    }
    text
}

/// Two tasks over one list; the second reads what the first makes.
fn listed(rows: usize) -> String {
    let list: Vec<String> = (0..rows).map(|row| format!("\"sample {row}\"")).collect();
    let list = list.join(", ");
    format!(
        "{HEAD}[tasks.a]\nforeach = [{list}]\noutputs = [\"a/{{item}}\"]\nrun = \"touch {{outputs}}\"\n\
         [tasks.b]\nforeach = [{list}]\ninputs = [\"a/{{item}}\"]\noutputs = [\"b/{{item}}\"]\n\
         run = \"cp '{{inputs[0]}}' \\\"{{outputs[0]}}\\\" # {{cpus}}\"\n"
    )
}

fn expanded(text: &str) -> Plan {
    let (workflow, diagnostics) = manifest::read(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let expanded = manifest::expand(&workflow, "/bench", &BTreeMap::new(), &Facts::default(), Limits::default());
    expanded.expect("the workflow is sound").plan
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.sample_size(20);
    for width in [100, 1_000] {
        let text = explicit(width);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("read/{} tasks", 10 * width), |bencher| {
            bencher.iter(|| manifest::read(black_box(&text)));
        });
        let (workflow, _) = manifest::read(&text);
        let (params, facts) = (BTreeMap::new(), Facts::default());
        group.throughput(Throughput::Elements(10 * width as u64));
        group.bench_function(format!("expand/{} tasks", 10 * width), |bencher| {
            bencher.iter_batched(
                || (),
                |()| manifest::expand(black_box(&workflow), "/bench", &params, &facts, Limits::default()),
                BatchSize::LargeInput,
            );
        });
    }
    let rows = 10_000;
    let text = listed(rows);
    group.throughput(Throughput::Elements(2 * rows as u64));
    group.bench_function(format!("read and expand/{} instances", 2 * rows), |bencher| {
        bencher.iter(|| expanded(black_box(&text)));
    });
    group.finish();
}

fn render(criterion: &mut Criterion) {
    let plan = expanded(&listed(1_000));
    let grant = Grant { cpus: 2, mem: Bytes::gib(1), hold: Hold::Nothing, time: None, gpus: 0 };
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("quoted", |bencher| {
        bencher.iter(|| {
            for instance in 0..2_000 {
                black_box(manifest::render(&plan, InstanceId(instance), &grant, 1));
            }
        });
    });
    group.finish();
}

/// Ten thousand jobs as each batch system's queue tells of them.
fn queues() -> [(Flavour, String); 3] {
    let mut texts = [
        "JOBID|ARRAY_JOB_ID|STATE|PARTITION|START_TIME|NODELIST|REASON|NAME\n".to_owned(),
        String::new(),
        "<?xml version='1.0'?>\n<job_info>\n<queue_info>\n".to_owned(),
    ];
    let [slurm, pbs, sge] = &mut texts;
    for at in 0..10_000 {
        let name = format!("csync-0a1b2c3d-{at}-1");
        let _ = writeln!(slurm, "{at}|{at}|RUNNING|debug|2026-11-21T03:18:21|node{at}|None|{name}");
        let _ = writeln!(
            pbs,
            "Job Id: {at}.pbshead\n    Job_Name = {name}\n    Job_Owner = alice@head\n    job_state = R\n    queue = workq\n    \
             exec_host = n1/2\n    stime = Sat Nov 21 02:46:33 2026\n    substate = 42\n    comment = Job run at Sat Nov 21 \
             at 02:46 on (n1:ncpus=2:mem=512000kb)\n    run_count = 1"
        );
        let _ = writeln!(
            sge,
            "<job_list state=\"running\">\n<JB_job_number>{at}</JB_job_number>\n<JAT_prio>0.5</JAT_prio>\n\
             <JB_name>{name}</JB_name>\n<JB_owner>alice</JB_owner>\n<state>r</state>\n\
             <JAT_start_time>2026-11-21T12:35:26</JAT_start_time>\n<queue_name>all.q@n1</queue_name>\n<slots>1</slots>\n\
             </job_list>"
        );
    }
    sge.push_str("</queue_info>\n<job_info>\n</job_info>\n</job_info>\n");
    let [slurm, pbs, sge] = texts;
    [(Flavour::Slurm, slurm), (Flavour::Pbs, pbs), (Flavour::Sge, sge)]
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(10_000));
    for (flavour, text) in queues() {
        let reply = Reply { status: 0, stdout: &text, stderr: "" };
        group.bench_function(flavour.name(), |bencher| {
            bencher.iter(|| {
                let queue = parse_queue(flavour, black_box(&reply)).expect("the queue is sound");
                assert_eq!(queue.jobs.len(), 10_000);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse, render, queue);
criterion_main!(benches);
