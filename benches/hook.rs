//! Reading and judging the commands of coding agents, in the process.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use csync::decide::advise::{Facts, Found, HostFacts, Learned, Mode, Replica, Way, advise};
use csync::language::shell::read;
use csync::model::batch::Flavour;
use csync::reach::index::{Index, IndexWriter};

/// A cluster behind a jump host, and nothing else.
struct World(Arc<HostFacts>);

impl Facts for World {
    fn host(&self, name: &str) -> Option<Found> {
        let way = (name != "hpc").then(|| Way { jump: "gate".to_owned(), ..Way::default() });
        Some(Found { host: Arc::clone(&self.0), way, is_node: name != "hpc" })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        None
    }

    fn request(&self, _words: &[&str], _host: &str, _cwd: Option<&str>) -> Option<Learned> {
        None
    }

    fn replicas(&self, _path: &str, _host: &str) -> Vec<Replica> {
        Vec::new()
    }

    fn has_program(&self, _name: &str) -> bool {
        false
    }

    fn has_variable(&self, _prefix: &str) -> bool {
        false
    }

    fn batch_script(&self, _path: &str) -> Option<String> {
        None
    }
}

const LINES: [(&str, &str); 4] = [
    ("plain", "cd src && cargo test 2>&1 | head -50"),
    ("jump", "ssh n17 'nvidia-smi | head' && echo done"),
    ("login", "ssh hpc \"bash -lc 'module load cuda; python train.py --epochs 3 2>&1 | tee log'\""),
    (
        "long",
        "for f in a b c; do sbatch --wrap \"singularity exec --nv -B /data:/data img.sif python run.py $f\"; done; squeue -u me | grep R; ssh n17 <<'EOF'\nls\nEOF\n",
    ),
];

fn judging(criterion: &mut Criterion) {
    let hpc = HostFacts { name: "hpc".to_owned(), batch: Some(Flavour::Slurm), light: true, ..HostFacts::default() };
    let world = World(Arc::new(hpc));
    for (name, line) in LINES {
        criterion.bench_function(&format!("read {name}"), |bench| bench.iter(|| read(black_box(line))));
        criterion.bench_function(&format!("advise {name}"), |bench| {
            bench.iter(|| advise(black_box(line), "/work", Mode::Rewrite, &world));
        });
    }
}

fn looking_up(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.idx");
    let mut writer = IndexWriter::default();
    for number in 0..100_000 {
        writer.add(&format!("data /data/set{number}"), &(number, "hpc"));
    }
    writer.write(&path).expect("it is written");
    criterion.bench_function("open an index and look up", |bench| {
        bench.iter(|| Index::open(&path).expect("it opens").get::<(u32, String)>(black_box("data /data/set777")));
    });
}

criterion_group!(benches, judging, looking_up);
criterion_main!(benches);
