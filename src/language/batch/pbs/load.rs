//! How many cores nobody uses. PBS tells of nodes, and of queues no more than how many jobs are in them.

use crate::language::batch::call::preamble;
use crate::language::batch::text::count;

/// Returns the command that asks for it. Nodes are summed up there by the queues that they are kept for, since a large site has
/// megabytes of them. What is no node of PBS, since it says nothing of `ncpus`, is not counted.
pub fn load() -> String {
    format!(
        r#"{}$csync_limit pbsnodes -a | awk '
function add() {{ if (c) n++; if (s == "free" && c > u) idle[q] += c - u; s = q = ""; c = u = 0 }}
/^[^ \t]/ {{ add() }}
$2 != "=" {{ next }}
$1 == "state" {{ s = $3 }}
$1 == "queue" || $1 == "resources_available.Qlist" && q == "" {{ q = $3 }}
$1 == "resources_available.ncpus" {{ c = $3 + 0 }}
$1 == "resources_assigned.ncpus" {{ u = $3 + 0 }}
END {{ add(); print "nodes|" n + 0; for (q in idle) print "idle|" q "|" idle[q] }}'
"#,
        preamble(10)
    )
}

/// Reads idle cores by queue, of these; none where nothing was told. Nodes that are kept for no queue serve all.
pub fn parse_load(output: &str, queues: &[&str]) -> Vec<(String, u32)> {
    let told = output.lines().find_map(|line| line.strip_prefix("nodes|")).and_then(count);
    if told.is_none_or(|nodes| nodes == 0) {
        return Vec::new();
    }
    let idle: Vec<(&str, u32)> = output
        .lines()
        .filter_map(|line| line.strip_prefix("idle|")?.rsplit_once('|'))
        .filter_map(|(kept, cores)| Some((kept, count(cores)?)))
        .collect();
    let of = |queue: &str| {
        let serves = |kept: &str| kept.is_empty() || kept.split(',').any(|name| name == queue);
        idle.iter().filter(|(kept, _)| serves(kept)).fold(0, |sum: u32, (_, cores)| sum.saturating_add(*cores))
    };
    queues.iter().map(|queue| ((*queue).to_owned(), of(queue))).collect()
}
