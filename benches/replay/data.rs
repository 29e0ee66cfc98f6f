//! The recorded histories, as they lie in their folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use csync::decide::learn::profile::Profile;
use csync::model::observation::Observation;

/// The folder with the histories.
pub(crate) struct Traces(PathBuf);

/// One task of a workflow, as Nextflow traced it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: f64,
    pub(crate) input: f64,
    pub(crate) memory: f64,
    pub(crate) hours: f64,
    pub(crate) asked_memory: f64,
    /// Seconds.
    pub(crate) asked_time: f64,
    pub(crate) start: f64,
    pub(crate) complete: f64,
}

/// A table with its header.
pub(crate) struct Table {
    header: csv::StringRecord,
    records: Vec<csv::StringRecord>,
}

impl Table {
    fn read(text: &str) -> Self {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let header = reader.headers().expect("a table has a header").clone();
        Self { header, records: reader.records().filter_map(Result::ok).collect() }
    }

    /// Returns the texts of a column; empty where there is none.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let place = self.header.iter().position(|column| column.eq_ignore_ascii_case(name));
        let text = |record: &csv::StringRecord| place.and_then(|place| record.get(place)).unwrap_or("").to_owned();
        self.records.iter().map(text).collect()
    }

    /// Returns the numbers of a column; not a number where there is none.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        self.texts(name).iter().map(|text| text.parse().unwrap_or(f64::NAN)).collect()
    }
}

impl Traces {
    /// Finds the folder.
    pub(crate) fn find() -> Option<Self> {
        let named = std::env::var_os("CSYNC_TRACES").map(PathBuf::from);
        let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/traces");
        Some(named.unwrap_or_else(beside)).filter(|path| path.is_dir()).map(Self)
    }

    /// Lists the names in a folder below, sorted.
    pub(crate) fn list(&self, below: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.join(below)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Reads a table; none when it is not there.
    pub(crate) fn table(&self, name: &str) -> Option<Table> {
        let path = self.0.join(name);
        if !path.is_file() {
            return None;
        }
        let text = if path.extension().is_some_and(|extension| extension == "gz") {
            let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip can be run");
            String::from_utf8_lossy(&unpacked.stdout).into_owned()
        } else {
            std::fs::read_to_string(&path).expect("the file can be read")
        };
        Some(Table::read(&text))
    }

    /// Lists the workflows of which there is a Nextflow trace.
    pub(crate) fn workflows(&self) -> Vec<String> {
        let names = self.list("").into_iter();
        names.filter_map(|name| Some(name.strip_prefix("trace_")?.strip_suffix(".csv.gz")?.to_owned())).collect()
    }

    /// Reads a Nextflow trace: the tasks of each process, in the order of the file.
    pub(crate) fn workflow(&self, name: &str) -> Vec<Vec<Row>> {
        let table = self.table(&format!("trace_{name}.csv.gz")).expect("the trace was listed");
        let column = |name: &str| table.numbers(name);
        let (id, input, memory, wall) = (column("task_id"), column("rchar"), column("rss"), column("realtime"));
        let (asked_memory, asked_time) = (column("memory"), column("time"));
        let (start, complete) = (column("start"), column("complete"));
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut processes: Vec<Vec<Row>> = Vec::new();
        for (i, process) in table.texts("process").into_iter().enumerate() {
            if memory[i].is_nan() || memory[i] <= 0.0 {
                continue;
            }
            let place = *places.entry(process).or_insert(processes.len());
            if place == processes.len() {
                processes.push(Vec::new());
            }
            processes[place].push(Row {
                id: id[i],
                input: input[i],
                memory: memory[i],
                hours: wall[i] / 3.6e6,
                asked_memory: asked_memory[i],
                asked_time: asked_time[i] / 1e3,
                start: start[i],
                complete: complete[i],
            });
        }
        processes
    }
}

/// A profile that is told one attempt after the other.
#[derive(Default)]
pub(crate) struct Student {
    pub(crate) profile: Profile,
    pub(crate) n: u32,
    pub(crate) most_memory: f64,
}

impl Student {
    /// Tells of an attempt; `seconds` and `memory` of 0 were not measured.
    pub(crate) fn learn(&mut self, input: f64, memory: f64, seconds: f64) {
        self.n += 1;
        self.most_memory = self.most_memory.max(memory);
        let id = u64::from(self.n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let id = (id ^ (id >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let (input, memory, wall) = (input as f32, memory as f32, seconds as f32);
        self.profile.observe(1, Observation { id, at: self.n, input, memory, wall, ..Observation::default() });
    }
}

/// The tasks of a process in the order of their start.
pub(crate) fn by_start(rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().copied().filter(|row| row.hours > 0.0).collect();
    rows.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.id.total_cmp(&b.id)));
    rows
}

/// Those that are over by now, taken out of what is under way, in the order of their end.
pub(crate) fn ended(under_way: &mut Vec<Row>, now: f64) -> Vec<Row> {
    let (mut over, rest): (Vec<Row>, Vec<Row>) = under_way.iter().partition(|row| row.complete <= now);
    over.sort_by(|a, b| {
        a.complete.total_cmp(&b.complete).then(a.start.total_cmp(&b.start)).then(a.id.total_cmp(&b.id))
    });
    *under_way = rest;
    over
}

/// The middle of some numbers.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => f64::midpoint(numbers[n / 2 - 1], numbers[n / 2]),
    }
}

/// The split into history (30 %) and what comes after it (70 %, shuffled) that the published figures were made with: numpy's
/// legacy generator (MT19937) and its shuffle, as scikit-learn's `train_test_split` uses them.
pub(crate) fn split(n: usize, seed: u32) -> (Vec<usize>, Vec<usize>) {
    let mut twister = Twister::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = (i as u32 + 1).next_power_of_two() - 1;
        let j = loop {
            let drawn = (twister.next() & mask) as usize;
            if drawn <= i {
                break drawn;
            }
        };
        order.swap(i, j);
    }
    let later = (0.7 * n as f64).ceil() as usize;
    (order[later..].to_vec(), order[..later].to_vec())
}

/// The Mersenne Twister.
struct Twister {
    state: [u32; 624],
    next: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624 {
            let last = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.next == 624 {
            for k in 0..624 {
                let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % 624] & 0x7fff_ffff);
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[k] = self.state[(k + 397) % 624] ^ (y >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}
