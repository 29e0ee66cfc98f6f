//! Files that lie on hosts: which copy is taken, and what happens when one is gone.

use std::fs;

use crate::world::{Done, World};

/// Three clusters that are made up on this machine; what is larger than a kilobyte stays where it was made.
const HOSTS: &str = "\
[hosts.one]
simulated = {}
keep_above = \"1K\"
[hosts.two]
simulated = {}
keep_above = \"1K\"
[hosts.three]
simulated = {}
keep_above = \"1K\"
";

/// Two files that one host makes and another reads, so that both have them.
const MAKE: &str = "\
name = \"copies\"
[tasks.make]
outputs = [\"a\", \"b\"]
run = \"head -c 5000 /dev/zero > a; head -c 6000 /dev/zero > b\"
on = \"one\"
[tasks.copy]
inputs = [\"a\", \"b\"]
outputs = [\"size\"]
run = \"cat a b | wc -c > size\"
on = \"two\"
";

#[test]
fn a_copy_that_vanishes_while_a_run_goes_on_is_replaced_by_the_next_one() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", HOSTS);
    let config = world.path("config");
    let csync = |args: &[&str]| -> Done { world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into() };
    world.write("workflow.toml", MAKE);
    csync(&["submit"]).exits(0);
    assert_eq!(world.read("size").trim(), "11000");
    let copies = |name: &str| -> Vec<(String, String)> {
        let listed = csync(&["data", "where", name, "--json"]).exits(0).json();
        let text = |copy: &serde_json::Value, key: &str| copy[key].as_str().unwrap().to_owned();
        let all = listed.as_array().unwrap().iter();
        all.map(|copy| (text(copy, "host"), format!("{}/{name}", text(copy, "place")))).collect()
    };
    let place = |name: &str, host: &str| copies(name).into_iter().find(|(of, _)| of == host).unwrap().1;
    assert_eq!((copies("a").len(), copies("b").len(), world.path("a").exists()), (2, 2, false));
    // When the run is on its way the one file goes from where it was made, and the other from where it was read: whichever is
    // asked first, one of them is not there.
    let (first, second) = (place("a", "one"), place("b", "two"));
    let more = format!(
        "{MAKE}[tasks.wipe]\nneeds = [\"copy\"]\noutputs = [\"wiped\"]\nrun = \"rm {first} {second}; touch wiped\"\n\
         [tasks.read]\ninputs = [\"a\", \"b\", \"wiped\"]\noutputs = [\"total\"]\n\
         run = \"cat a b | wc -c > total\"\non = \"three\"\n"
    );
    world.write("workflow.toml", &more);
    let done = csync(&["submit"]).exits(0);
    assert!(done.out.contains("2 done, 2 cached"), "nothing is made anew: {done:?}");
    assert_eq!(world.read("total").trim(), "11000");
    // The copy that was missed is known no more; where nobody looked is told as before.
    let on = |name: &str| copies(name).into_iter().map(|(host, _)| host).collect::<Vec<_>>();
    let gone = usize::from(!on("a").contains(&"one".to_owned())) + usize::from(!on("b").contains(&"two".to_owned()));
    assert!(gone >= 1 && on("a").contains(&"three".to_owned()), "{:?} {:?}", on("a"), on("b"));
}
