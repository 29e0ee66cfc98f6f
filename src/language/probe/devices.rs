//! GPUs.

use crate::language::probe::parts::clean;
use crate::model::facts::Gpu;
use crate::model::units::Bytes;

/// Adds a GPU to those that are alike.
fn count(gpus: &mut Vec<Gpu>, gpu: Gpu) {
    let alike = |known: &&mut Gpu| known.model == gpu.model && known.memory == gpu.memory;
    match gpus.iter_mut().find(alike) {
        Some(known) => known.count += 1,
        None => gpus.push(gpu),
    }
}

/// Reads lines `NVIDIA A100-SXM4-40GB, 40960, 535.54.03`, and `cuda=12.2`.
pub(super) fn nvidia(section: &str) -> Vec<Gpu> {
    let level = section.lines().find_map(|line| line.strip_prefix("cuda=")).map(clean);
    let mut gpus = Vec::new();
    for line in section.lines() {
        let mut fields = line.rsplitn(3, ',').map(str::trim);
        let (Some(driver), Some(memory), Some(model)) = (fields.next(), fields.next(), fields.next()) else { continue };
        // What nvidia-smi says when it reaches no driver has commas too.
        if !driver.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        // A GPU that shares the host's memory says `[N/A]`.
        let memory = memory.parse().ok().map(|mib: u64| Bytes::mib(mib));
        let driver = Some(clean(driver));
        count(&mut gpus, Gpu { count: 1, model: clean(model), memory, driver, level: level.clone() });
    }
    gpus
}

/// Reads the table of rocm-smi, whose titles differ between versions.
pub(super) fn amd(section: &str) -> Vec<Gpu> {
    let mut lines = section.lines().filter(|line| line.contains(','));
    let Some(titles) = lines.next() else { return Vec::new() };
    let titles: Vec<String> = titles.split(',').map(|title| title.trim().to_ascii_lowercase()).collect();
    let column = |wanted: &[&str]| titles.iter().position(|title| wanted.iter().any(|word| title == word));
    let Some(model) = column(&["card series", "product name", "card model"]) else { return Vec::new() };
    let memory = column(&["vram total memory (b)"]);
    let mut gpus = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let Some(model) = cells.get(model).filter(|_| line.starts_with("card")) else { continue };
        let memory = memory.and_then(|at| cells.get(at)?.parse().ok()).map(Bytes);
        count(&mut gpus, Gpu { count: 1, model: clean(model), memory, driver: None, level: None });
    }
    gpus
}
