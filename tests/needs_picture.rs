//! Pictures that Graphviz draws.

use crate::arena::World;
use crate::workflows::copy_workflows;

#[test]
fn every_task_is_in_the_picture() {
    let world = World::new();
    copy_workflows(&world);
    world.csync(&["dag", "quickstart.toml", "-o", "quickstart.svg"]).code(0);
    let picture = world.read("quickstart.svg");
    assert!(picture.contains("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    for task in ["sequence", "composition", "orfs", "digest", "skew", "genes", "codons", "gel", "report"] {
        assert!(picture.contains(task), "{task}: {picture}");
    }
}
