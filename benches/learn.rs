//! The learner: one prediction, one observation, one merge.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use csync::decide::learn::profile::{Profile, Question};
use csync::model::observation::Observation;

fn mixed(n: u64) -> u64 {
    let n = (n.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (n ^ (n >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn seen(n: u64) -> Observation {
    let input = (mixed(n) % 1000) as f32 * 1e7;
    let noise = (mixed(n + 77) % 1000) as f32;
    let (memory, wall) = (1e9 + 0.3 * input + 1e6 * noise, 10.0 + input / 1e8 + noise / 1e2);
    Observation { id: mixed(n), at: n as u32, input, memory, wall, ..Observation::default() }
}

fn learned(of: std::ops::Range<u64>) -> Profile {
    let mut profile = Profile::default();
    for n in of {
        profile.observe(n % 3, seen(n));
    }
    profile
}

fn predict(c: &mut Criterion) {
    let profile = learned(0..500);
    let question = Question::plain(5e9);
    c.bench_function("predict memory", |b| b.iter(|| profile.memory(question).expect("enough was seen")));
    c.bench_function("predict a time limit", |b| b.iter(|| profile.time_limit(question).expect("enough was seen")));
    c.bench_function("predict run time", |b| b.iter(|| profile.run_time(5e9).expect("enough was seen")));
}

fn observe(c: &mut Criterion) {
    let profile = learned(0..500);
    c.bench_function("observe", |b| {
        b.iter_batched_ref(|| profile.clone(), |profile| profile.observe(1, seen(501)), BatchSize::SmallInput);
    });
}

fn merge(c: &mut Criterion) {
    let (a, b) = (learned(0..500), learned(500..900));
    c.bench_function("merge two profiles", |bench| {
        bench.iter_batched_ref(|| a.clone(), |a| a.merge(&b), BatchSize::SmallInput);
    });
}

criterion_group!(benches, predict, observe, merge);
criterion_main!(benches);
