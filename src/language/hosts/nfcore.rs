//! Site files out of the site configs of nf-core: what is said plainly in them, and nothing that is computed.

use std::fmt::Write as _;

use crate::model::units::{Bytes, Walltime};

/// What a config says of its site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NfCoreSite {
    /// Whose site it is.
    pub description: Option<String>,
    /// Where its rules are written.
    pub url: Option<String>,
    /// Its batch system, as `hosts.toml` calls it.
    pub batch: Option<&'static str>,
    /// Its queue, where only one is named.
    pub queue: Option<String>,
    /// Most cores of a task.
    pub cores: Option<u32>,
    /// Most memory of a task.
    pub memory: Option<Bytes>,
    /// Most time of a task.
    pub time: Option<Walltime>,
    /// What runs containers there.
    pub containers: Vec<&'static str>,
}

/// Reads a site config; none when it says nothing of a site.
pub fn read_nf_core(text: &str) -> Option<NfCoreSite> {
    let mut site = NfCoreSite::default();
    let mut queues: Vec<String> = Vec::new();
    let mut blocks: Vec<String> = Vec::new();
    for (piece, end) in text.lines().flat_map(|line| pieces(without_comment(line))) {
        if let Some((key, value)) = assignment(piece) {
            site.take(blocks.last().map(String::as_str), key, value);
            if key.trim_start_matches("process.") == "queue" {
                // One that is computed says that there are several.
                queues.push(quoted(value).unwrap_or_default().to_owned());
            }
        }
        match end {
            Some('{' | '[') => {
                let name = piece.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '=' | ':'));
                let name = name.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
                blocks.push(name.to_owned());
            }
            Some('}' | ']') => drop(blocks.pop()),
            _ => {}
        }
    }
    queues.sort();
    queues.dedup();
    site.queue = match queues.as_slice() {
        [one] if one.parse::<crate::model::host::HostName>().is_ok() => Some(one.clone()),
        _ => None,
    };
    (site.batch.is_some() || site.description.is_some()).then_some(site)
}

impl NfCoreSite {
    fn take(&mut self, block: Option<&str>, key: &str, value: &str) {
        // What comes first is the site's own; profiles for parts of it come later.
        let key = key.trim_start_matches("params.").trim_start_matches("process.").trim_start_matches("executor.");
        // `singularity.enabled = true` is that block in one line.
        let (block, key) = match key.split_once('.') {
            Some((block, "enabled")) => (Some(block), "enabled"),
            _ => (block, key),
        };
        match (block, key) {
            (_, "config_profile_description") => keep(&mut self.description, || quoted(value).map(str::to_owned)),
            (_, "config_profile_url") => keep(&mut self.url, || quoted(value).map(str::to_owned)),
            (_, "executor") | (Some("executor"), "name") => keep(&mut self.batch, || batch(quoted(value)?)),
            (_, "max_cpus") | (Some("resourceLimits"), "cpus") => keep(&mut self.cores, || value.parse().ok()),
            (_, "max_memory") | (Some("resourceLimits"), "memory") => {
                keep(&mut self.memory, || spelled(value).and_then(|text| text.parse().ok()));
            }
            (_, "max_time") | (Some("resourceLimits"), "time") => {
                keep(&mut self.time, || spelled(value).and_then(|text| text.parse().ok()));
            }
            (Some(program @ ("singularity" | "apptainer" | "docker" | "podman")), "enabled") if value == "true" => {
                let known = ["apptainer", "singularity", "docker", "podman"];
                let new = known.into_iter().find(|name| *name == program && !self.containers.contains(name));
                self.containers.extend(new);
            }
            _ => {}
        }
    }

    /// Writes it as a site file; `from` says where it is from.
    pub fn site_file(&self, from: &str) -> String {
        let mut text = format!(
            "# From {from}, a site config of nf-core: what is said plainly in it. What depends on a task's size is left out.\n"
        );
        let words: Vec<&str> = [&self.description, &self.url].into_iter().flatten().map(String::as_str).collect();
        if !words.is_empty() {
            let _ = writeln!(text, "description = {}", spell(&words.join(" ")));
        }
        if let Some(batch) = self.batch {
            let _ = writeln!(text, "batch = \"{batch}\"");
        }
        if !self.containers.is_empty() {
            let quoted: Vec<String> = self.containers.iter().map(|name| format!("\"{name}\"")).collect();
            let _ = writeln!(text, "containers = [{}]", quoted.join(", "));
        }
        let mut limits = Vec::new();
        limits.extend(self.time.map(|time| format!("walltime = \"{time}\"")));
        limits.extend(self.cores.map(|cores| format!("cores = {cores}")));
        limits.extend(self.memory.map(|memory| format!("memory = \"{memory}\"")));
        text.push_str("\n[policy]\nlogin_node = \"light\"\n");
        if let (Some(queue), false) = (&self.queue, limits.is_empty()) {
            let _ = writeln!(text, "\n[partitions.{}]\n{}", spell(queue), limits.join("\n"));
        } else if !limits.is_empty() {
            let _ =
                writeln!(text, "\n# It names no single queue that these limits are of: [partitions.NAME] takes them.");
            for limit in &limits {
                let _ = writeln!(text, "# {limit}");
            }
        }
        text
    }
}

/// Spells a text as TOML does.
fn spell(text: &str) -> String {
    let mut spelled = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => spelled.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(spelled, "\\u{:04X}", u32::from(letter));
            }
            _ => spelled.push(letter),
        }
    }
    spelled + "\""
}

fn keep<T>(slot: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = value();
    }
}

/// Returns a line up to `//`, but for one of an address.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| from + at) {
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

/// Splits a line where blocks and lists begin and end, and between what stands in them, each piece with what ends it: a block may stand
/// in one line. What is quoted is whole.
fn pieces(line: &str) -> Vec<(&str, Option<char>)> {
    let (mut pieces, mut from, mut quote) = (Vec::new(), 0, None);
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '{' | '}' | '[' | ']' | ',' | ';') => {
                pieces.push((line[from..at].trim(), Some(letter)));
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push((line[from..].trim(), None));
    pieces
}

/// Splits `key = value` and `key: value`. What begins a block or a list is worth nothing by itself.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let split = line.find(['=', ':'])?;
    let (key, value) = (line[..split].trim(), line[split + 1..].trim());
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    is_key.then_some((key, value))
}

fn quoted(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(['$', '\'', '"', '\\'])).then_some(inner)
}

/// Spells `2.TB`, `168.h` and `'168 h'` as people do.
fn spelled(value: &str) -> Option<String> {
    let value = quoted(value).unwrap_or(value);
    let text: String = value.replace('.', " ").split_whitespace().collect();
    text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(text)
}

fn batch(executor: &str) -> Option<&'static str> {
    match executor.to_ascii_lowercase().as_str() {
        "slurm" => Some("slurm"),
        "pbs" | "pbspro" => Some("pbs"),
        "sge" | "uge" => Some("sge"),
        "local" => Some("none"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hosts::read_site;

    const TEXT: &str = "// Made up\nparams {\n  config_profile_description = 'The \"X\" cluster'\n  \
        config_profile_description = 'The X cluster' // mine\n  config_profile_url = 'https://example.org/x'\n}\n\
        singularity {\n  enabled = true\n}\nprocess {\n  resourceLimits = [\n    memory: 2.TB,\n    cpus: 256,\n    time: 168.h\n  ]\n  \
        executor = 'slurm'\n  queue = 'long'\n}\nprofiles {\n  small {\n    params {\n      max_cpus = 1\n    }\n  }\n}\n";

    #[test]
    fn what_is_plainly_said_becomes_a_site_file_without_mistakes() {
        let site = read_nf_core(TEXT).expect("it is a site");
        assert_eq!((site.batch, site.cores, site.memory), (Some("slurm"), Some(256), Some(Bytes::gib(2048))));
        assert_eq!((site.time, site.queue.as_deref()), (Some(Walltime(168 * 3600)), Some("long")));
        let text = site.site_file("x.config");
        let (read, mistakes) = read_site("x", &text);
        assert_eq!(mistakes, [], "{text}");
        assert!(read.description.is_some_and(|words| words.contains("https://example.org/x")), "{text}");
    }

    #[test]
    fn a_block_or_a_list_may_stand_in_one_line() {
        let site = |text: &str| read_nf_core(text).expect("it is a site");
        let whole = site(TEXT);
        let short = TEXT
            .replace("singularity {\n  enabled = true\n}", "singularity { enabled = true; autoMounts = true }")
            .replace(
                "[\n    memory: 2.TB,\n    cpus: 256,\n    time: 168.h\n  ]",
                "[ memory: 2.TB, cpus: 256, time: 168.h ]",
            );
        assert_ne!(short, TEXT);
        assert_eq!((site(&short), whole.containers.as_slice()), (whole.clone(), &["singularity"][..]));
        let dotted = TEXT
            .replace("singularity {\n  enabled = true\n}", "singularity.enabled = true\ndocker { enabled = false }");
        assert_eq!(site(&dotted), whole);
        // Signs in what is quoted end nothing.
        let odd = "params { config_profile_description = 'The {X}, [Y]; cluster' }\nprocess { executor = 'slurm', queue = 'a' }\n";
        let odd = site(odd);
        assert_eq!(odd.description.as_deref(), Some("The {X}, [Y]; cluster"));
        assert_eq!((odd.batch, odd.queue.as_deref()), (Some("slurm"), Some("a")));
    }

    #[test]
    fn queues_that_are_computed_are_left_to_people() {
        let text = TEXT.replace("queue = 'long'", "queue = { task.time < 2.h ? 'short' : 'long' }");
        let site = read_nf_core(&text).expect("it is a site");
        assert_eq!(site.queue, None);
        let file = site.site_file("x.config");
        assert!(file.contains("# cores = 256") && read_site("x", &file).1.is_empty(), "{file}");
        assert_eq!(read_nf_core("env {\n TMPDIR = '/tmp'\n}\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_and_what_comes_of_it_has_no_mistakes(text in "([a-z_.]{0,12}[ ={}:\\[\\]'\"$/.0-9A-Za-zäß\n]{0,9}){0,30}") {
            if let Some(site) = read_nf_core(&text) {
                let file = site.site_file("x.config");
                proptest::prop_assert_eq!(read_site("x", &file).1, []);
            }
        }
    }
}
