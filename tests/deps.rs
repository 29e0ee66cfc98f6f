//! What may come in as a dependency, and how much of it.

use std::path::Path;
use std::process::Command;

/// Packages in `Cargo.lock`, on every system; SSH (russh) is a hundred of them. Raise it with a reason in the commit that needs
/// it.
const LOCKED_AT_MOST: usize = 430;

/// Crates that must not be in what is built for this system, each with what is used instead.
const BANNED: [(&str, &str); 7] = [
    ("openssl-sys", "there is no TLS; rustls with ring if there ever is"),
    ("native-tls", "there is no TLS; rustls with ring if there ever is"),
    ("aws-lc-sys", "needs cmake and minutes of C; ring"),
    ("libgit2-sys", "nothing here speaks git"),
    ("cmake", "no build step may need cmake"),
    ("bindgen", "no build step may need libclang"),
    ("chrono", "jiff"),
];

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the packages that a build for this system compiles, dev-dependencies left out.
fn built() -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
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
