//! The picture in Graphviz's language.

use std::fmt::Write as _;

use crate::cli::picture::{Dag, Mood, Node};

/// Writes the picture as a digraph.
pub(in crate::cli) fn dot(dag: &Dag) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&dag.name));
    text.push_str("  graph [rankdir=TB, nodesep=0.3, ranksep=0.4, bgcolor=transparent];\n");
    text.push_str("  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, ");
    text.push_str("color=\"#5f6b7a\", fillcolor=\"#f4f6f8\"];\n");
    text.push_str("  edge [color=\"#5f6b7a\", arrowsize=0.7];\n");
    for (index, node) in dag.nodes.iter().enumerate() {
        let _ = writeln!(text, "  n{index} [label={}{}];", quoted(&label(node)), fill(node.mood()));
    }
    for (from, to) in &dag.edges {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text.push_str("}\n");
    text
}

fn label(node: &Node) -> String {
    let mut label = node.name.clone();
    if let Some(progress) = node.progress() {
        let _ = write!(label, "\n{progress}");
    } else if node.instances != 1 {
        let _ = write!(label, "\n\u{d7}{}", node.instances);
    }
    label
}

const fn fill(mood: Mood) -> &'static str {
    match mood {
        Mood::Plain => "",
        Mood::Waiting | Mood::Left => ", fillcolor=\"#e6e8eb\", fontcolor=\"#5f6b7a\"",
        Mood::Running => ", fillcolor=\"#cfe3fb\", color=\"#1f6fc4\"",
        Mood::Done => ", fillcolor=\"#d3f0dc\", color=\"#1f8a46\"",
        Mood::Failed => ", fillcolor=\"#fad4d4\", color=\"#c02b2b\"",
    }
}

/// Quotes a text. Graphviz reads `\n`, `\N` and the like in labels as escapes, so every backslash is doubled.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{}\"", escaped.chars().filter(|c| !c.is_control()).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_inside_their_quotes() {
        let node = |name: &str| Node { name: name.to_owned(), instances: 2, tasks: 1, counts: None };
        let dag = Dag { name: "a \"b\"".to_owned(), nodes: vec![node("x\\N"), node("y\n\u{1b}")], edges: vec![(0, 1)] };
        let text = dot(&dag);
        assert!(text.starts_with("digraph \"a \\\"b\\\"\" {"), "{text}");
        assert!(text.contains("n0 [label=\"x\\\\N\\n\u{d7}2\"];"), "{text}");
        assert!(text.contains("n1 [label=\"y\\n\\n\u{d7}2\"];\n  n0 -> n1;"), "{text}");
    }
}
