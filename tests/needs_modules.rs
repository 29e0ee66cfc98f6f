//! A journey of environment modules, by Debian's own: loaded, prepared with `setup`, and missed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[test]
fn a_task_has_the_modules_that_it_names() {
    let world = World::new();
    let (modules, bin) = (world.path("modules"), world.path("tools"));
    fs::create_dir_all(modules.join("tool")).unwrap();
    fs::create_dir(&bin).unwrap();
    let text = format!("#%Module\nsetenv TOOL_HOME /opt/tool\nprepend-path PATH {}\n", bin.display());
    fs::write(modules.join("tool/1.0"), text).unwrap();
    world.write("tools/tool", "#!/bin/sh\necho \"tool of $TOOL_HOME, $WORD\"\n");
    fs::set_permissions(bin.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write(
        "workflow.toml",
        &format!(
            r#"
name = "modular"
[defaults]
env = {{ MODULEPATH = "{}" }}
[tasks.has]
modules = ["tool/1.0"]
setup = ["export WORD=ready"]
outputs = ["out"]
run = "tool > {{outputs}}"
[tasks.misses]
modules = ["other/2.0"]
run = "echo went on"
"#,
            modules.display()
        ),
    );
    let done = world.csync(&["submit"]).exits(1);
    assert_eq!(world.read("out"), "tool of /opt/tool, ready\n", "{}", done.err);
    let misses = world.csync(&["logs", "1", "misses"]).exits(0);
    assert!(misses.err.contains("other/2.0") && !misses.out.contains("went on"), "{} {}", misses.out, misses.err);
}
