//! What may come in as a dependency, and how much of it.

use std::path::Path;
use std::process::Command;

/// Packages in `Cargo.lock`, on every system; SSH (russh) is a hundred of them. Raise it with a reason in the commit that needs
/// it. The nine from 428 on are the official SDK of the Model Context Protocol (rmcp: itself, schemars and uuid with what they
/// need).
const LOCKED_AT_MOST: usize = 437;

/// Crates that must not be in what is built for this system, each with what is used instead.
const BANNED: [(&str, &str); 6] = [
    ("openssl-sys", "there is no TLS; rustls with ring if there ever is"),
    ("native-tls", "there is no TLS; rustls with ring if there ever is"),
    ("aws-lc-sys", "needs cmake and minutes of C; ring"),
    ("libgit2-sys", "nothing here speaks git"),
    ("cmake", "no build step may need cmake"),
    ("bindgen", "no build step may need libclang"),
];

/// Crates that only these may bring in, each with what is used instead: `chrono` is in the types of rmcp, which csync calls none
/// of.
const ONLY_FOR: [(&str, &[&str], &str); 1] = [("chrono", &["rmcp", "schemars"], "jiff")];

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the packages that a build for this system compiles, dev-dependencies left out.
fn built() -> Vec<String> {
    tree(&["--prefix", "none"])
}

/// Names of the packages that need a package directly.
fn needed_by(name: &str) -> Vec<String> {
    let mut names = tree(&["--prefix", "none", "--depth", "1", "--invert", name]);
    names.remove(0);
    names
}

fn tree(args: &[&str]) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--format", "{p}"])
        .args(args)
        .current_dir(manifest_dir())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_lock_file_stays_small() {
    let lock = std::fs::read_to_string(manifest_dir().join("Cargo.lock")).expect("Cargo.lock is readable");
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(packages > 100, "Cargo.lock was read: {packages} packages");
    assert!(packages <= LOCKED_AT_MOST, "{packages} packages are locked, at most {LOCKED_AT_MOST} may be");
}

#[test]
fn nothing_banned_is_built() {
    let built = built();
    assert!(built.iter().any(|name| name == "serde"), "cargo tree was read: {built:?}");
    for (name, instead) in BANNED {
        assert!(
            !built.iter().any(|built| built == name),
            "`{name}` is built (see `cargo tree -i {name}`); instead: {instead}"
        );
    }
}

#[test]
fn what_is_banned_but_for_some_comes_with_none_else() {
    for (name, only, instead) in ONLY_FOR {
        let needed = needed_by(name);
        assert!(!needed.is_empty(), "nothing needs `{name}` any more: it can be banned");
        for by in needed {
            assert!(only.contains(&by.as_str()), "`{by}` needs `{name}`; instead: {instead}");
        }
    }
}
