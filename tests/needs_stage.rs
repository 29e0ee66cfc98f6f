//! Journeys of files: what stays where it was made, what passes from host to host, what several machines see alike, and what
//! happens when a link breaks or a disk is full.

use std::fs;

use crate::bed::Bed;
use crate::far::{engine_pid, nothing_left, why_says};
use crate::world::{signal, until};

/// Joins a bed with these hosts known.
fn know(bed: &Bed, hosts: &str) {
    let dir = bed.home().join(".config/csync");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), hosts).unwrap();
}

const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"
keep_above = "1M"

[hosts.lab]
ssh = "station"
batch = "none"
keep_above = "1M"
"#;

const MAKE: &str = r#"
name = "large"
[tasks.make]
outputs = ["sub/big", "small"]
run = "head -c 3000000 /dev/urandom > sub/big; cksum < sub/big > small"
on = "hpc"
[tasks.same]
inputs = ["sub/big"]
outputs = ["same"]
run = "cksum < sub/big > same; readlink -f sub/big"
on = "hpc"
[tasks.other]
inputs = ["sub/big"]
outputs = ["other"]
run = "cksum < sub/big > other"
on = "lab"
"#;

#[test]
fn what_was_removed_where_it_was_left_is_told_and_made_anew() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    let make = "name = \"left\"\n[tasks.make]\noutputs = [\"big\"]\nrun = \"head -c 3000000 /dev/zero > {outputs}\"\non = \"lab\"\n";
    bed.write("workflow.toml", make);
    bed.csync(&["submit"]).exits(0);
    assert!(!bed.path("big").exists());
    let listed = bed.csync(&["data", "where", "big", "--json"]).exits(0).json();
    let place = listed[0]["place"].as_str().unwrap();
    bed.on("station", &format!("rm {place}/big")).exits(0);
    bed.write(
        "workflow.toml",
        format!(
            "{make}[tasks.read]\ninputs = [\"big\"]\noutputs = [\"size\"]\nrun = \"wc -c < big > size\"\non = \"lab\"\n"
        ),
    );
    let said = bed.csync(&["submit"]).exits(1);
    let said = said.out + &said.err;
    assert!(said.contains("`big` is gone from where a task left it") && said.contains("submit again"), "{said}");
    // What is said helps.
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("size").trim(), "3000000");
}

#[test]
fn a_large_output_stays_where_it_was_made_until_somebody_needs_it() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    bed.write("workflow.toml", MAKE);
    bed.csync(&["submit"]).exits(0);
    let sum = bed.read("small");
    assert_eq!((bed.read("same"), bed.read("other")), (sum.clone(), sum.clone()));
    assert!(!bed.path("sub/big").exists(), "it went from host to host");
    let why = bed.csync(&["why", "make"]).exits(0).out;
    assert!(why.contains("`sub/big`") && why.contains("stays on hpc"), "{why}");
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("1 output (2.9M) on hpc") && show.contains("1 output (2.9M) on lab"), "{show}");
    let listed = bed.csync(&["data", "where", "sub/big", "--json"]).exits(0).json();
    let hosts: Vec<&str> = listed.as_array().unwrap().iter().map(|copy| copy["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["hpc", "lab"]);
    // It was used where it lies.
    let place = listed[0]["place"].as_str().unwrap();
    let used = bed.csync(&["logs", "last", "same", "--stdout"]).exits(0).out;
    assert_eq!(used.trim(), format!("{place}/sub/big"));
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    let planned = bed.csync(&["submit", "-n"]).exits(0).out;
    assert!(planned.contains("3 instances are up to date"), "{planned}");
    // A task here needs it: it comes, and what made it is up to date all the same.
    let here =
        format!("{MAKE}[tasks.here]\ninputs = [\"sub/big\"]\noutputs = [\"here\"]\nrun = \"cksum < sub/big > here\"\n");
    bed.write("workflow.toml", here);
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("1 done, 3 cached"), "{}", done.out);
    assert_eq!(bed.read("here"), sum);
    assert!(bed.path("sub/big").exists());
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // Another engine knows all that too.
    bed.csync(&["engine", "stop"]).exits(0);
    fs::remove_file(bed.path("sub/big")).unwrap();
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
}

/// A directory that is too large to come, one that is not, and what reads them: there, elsewhere, and here.
const MAKE_DIRS: &str = r#"
name = "dirs"
[tasks.make]
outputs = ["out/large", "few"]
run = """
mkdir -p out/large/deep out/large/none few
for n in 1 2 3; do head -c 900000 /dev/urandom > out/large/$n; done
head -c 900000 /dev/urandom > out/large/deep/4; ln -sf ../1 out/large/deep/link; echo few > few/one
cat out/large/[123] out/large/deep/* | cksum
"""
on = "hpc"
[tasks.same]
inputs = ["out/large"]
outputs = ["same"]
run = "cat out/large/[123] out/large/deep/* | cksum > same; readlink -f out/large"
on = "hpc"
[tasks.within]
inputs = ["out/large/deep/4"]
outputs = ["within"]
run = "wc -c < out/large/deep/4 > within"
on = "hpc"
[tasks.other]
inputs = ["out/large"]
outputs = ["other"]
run = "cat out/large/[123] out/large/deep/* | cksum > other; ls out/large"
on = "lab"
"#;

#[test]
fn a_large_directory_stays_where_it_was_made_until_somebody_needs_it() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    bed.write("workflow.toml", MAKE_DIRS);
    bed.csync(&["submit", "--only", "make"]).exits(0);
    let sum = bed.csync(&["logs", "last", "make", "--stdout"]).exits(0).out;
    assert!(!bed.path("out/large").exists() && bed.read("few/one") == "few\n");
    let why = bed.csync(&["why", "make"]).exits(0).out;
    assert!(why.contains("output `out/large` (4.3M) stays on hpc; `csync data get out/large` brings it"), "{why}");
    assert!(bed.csync(&["submit", "--only", "make"]).exits(0).out.contains("1 cached"));
    let lies = || bed.csync(&["data", "where", "out/large", "--json"]).exits(0).json();
    let place = |host: &str| {
        let lies = lies();
        let copy = lies.as_array().unwrap().iter().find(|copy| copy["host"] == host).cloned();
        copy.map(|copy| format!("{}/out/large", copy["place"].as_str().unwrap()))
    };
    let first = place("hpc").unwrap();
    let inodes = || bed.on("login", &format!("ls -i {first} {first}/deep")).exits(0).out;
    let before = inodes();
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("3 done, 1 cached"), "{}", done.out);
    assert_eq!((bed.read("same"), bed.read("other"), bed.read("within").trim()), (sum.clone(), sum.clone(), "900000"));
    assert_eq!(inodes(), before, "it was used where it lies");
    assert_eq!(bed.csync(&["logs", "last", "same", "--stdout"]).exits(0).out.trim(), first);
    assert!(bed.csync(&["logs", "last", "other", "--stdout"]).exits(0).out.contains("none"), "empty ones too");
    assert!(!bed.path("out/large").exists(), "it went from host to host");
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("1 output (4.3M) on hpc") && show.contains("1 output (4.3M) on lab"), "{show}");
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // What lab was given is what hpc has: a task there needs nothing moved, and takes it from there too.
    let second = place("lab").unwrap();
    bed.csync(&["data", "rm", "out/large", "--on", "hpc"]).exits(0);
    bed.on("login", &format!("[ ! -e {first} ]")).exits(0);
    bed.csync(&["submit", "--rerun=other"]).exits(0);
    assert_eq!((bed.read("other"), place("hpc")), (sum.clone(), None));
    // A task here needs it; all that was done is up to date all the same, also with what is here alone.
    let here = format!(
        "{MAKE_DIRS}[tasks.here]\ninputs = [\"out/large\"]\noutputs = [\"here\"]\n\
         run = \"cat out/large/[123] out/large/deep/* | cksum > here\"\n"
    );
    bed.write("workflow.toml", here);
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("1 done, 4 cached"), "{}", done.out);
    assert_eq!(bed.read("here"), sum);
    assert!(bed.path("out/large/none").is_dir());
    bed.csync(&["data", "rm", "out/large", "--on", "lab"]).exits(0);
    bed.on("station", &format!("[ ! -e {second} ]")).exits(0);
    assert!(bed.csync(&["data", "list"]).exits(0).err.contains("Nothing lies on hosts"));
    // But for what reads a file of it, which is known by itself now.
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("1 done, 4 cached"), "{}", done.out);
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // Made anew, it comes back into the one that is here: what else is in that is not csync's to remove.
    bed.write("out/large/mine", "mine");
    bed.csync(&["submit", "--rerun=make", "--only", "make"]).exits(0);
    let sum = bed.csync(&["logs", "last", "make", "--stdout"]).exits(0).out;
    let here = format!("cd {}; cat out/large/[123] out/large/deep/* | cksum", bed.path("").display());
    assert_eq!((bed.on("laptop", &here).out, bed.read("out/large/mine").as_str()), (sum, "mine"));
}

#[test]
fn a_directory_of_which_a_part_is_gone_is_told_and_made_anew() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    let make = "name = \"part\"\n[tasks.make]\noutputs = [\"dir\"]\non = \"hpc\"\n\
                run = \"mkdir -p dir; head -c 1500000 /dev/zero > dir/one; head -c 1500000 /dev/zero > dir/two\"\n";
    let read = |on: &str| {
        format!(
            "{make}[tasks.read]\ninputs = [\"dir\"]\noutputs = [\"size\"]\nrun = \"cat dir/* | wc -c > size\"\non = \"{on}\"\n"
        )
    };
    bed.write("workflow.toml", make);
    bed.csync(&["submit"]).exits(0);
    let spoil = || {
        let lies = bed.csync(&["data", "where", "dir", "--json"]).exits(0).json();
        let host = lies[0]["host"].as_str().unwrap().to_owned();
        // Of all copies: where one is whole, that one is taken.
        for copy in lies.as_array().unwrap() {
            let far = if copy["host"] == "hpc" { "login" } else { "station" };
            bed.on(far, &format!("rm {}/dir/two", copy["place"].as_str().unwrap())).exits(0);
        }
        host
    };
    // There, elsewhere, here, and at a person's word: half of it is never taken for the whole.
    for on in ["hpc", "lab", "local"] {
        spoil();
        bed.write("workflow.toml", read(on));
        let said = bed.csync(&["submit", "--only", "read"]).exits(1);
        let said = said.out + &said.err;
        assert!(
            said.contains("`dir` is gone from where a task left it") && said.contains("or changed there"),
            "{on}: {said}"
        );
        assert!(!bed.path("dir").exists() && !bed.path("size").exists());
        // What is said helps: it is made anew.
        bed.csync(&["submit"]).exits(0);
        assert_eq!(bed.read("size").trim(), "3000000", "{on}");
        fs::remove_file(bed.path("size")).unwrap();
        fs::remove_dir_all(bed.path("dir")).ok();
    }
    let host = spoil();
    let gone = bed.csync(&["data", "get", "dir"]).exits(3);
    assert!(gone.err.contains(&format!("`dir` is gone from `{host}`, or changed there")), "{}", gone.err);
    assert!(!bed.path("dir").exists());
}

#[test]
fn directories_are_moved_and_survive_an_engine_that_is_killed() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    let make = "name = \"killed\"\n[tasks.make]\noutputs = [\"dir\"]\non = \"hpc\"\n\
                run = \"touch ~/began-killed; until [ -e ~/go-killed ]; do sleep 0.1; done; \
                mkdir -p dir; head -c 3000000 /dev/urandom > dir/one; cksum < dir/one\"\n";
    bed.write("workflow.toml", make);
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it runs", || bed.on("login", "[ -e ~/began-killed ]").code == 0);
    let lock = fs::read_to_string(bed.home().join("state/engine.lock")).unwrap();
    bed.on("laptop", &format!("kill -9 {}", lock.split(' ').next().unwrap())).exits(0);
    bed.on("login", "touch ~/go-killed").exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    let sum = bed.csync(&["logs", "last", "make", "--stdout"]).exits(0).out;
    assert!(!bed.path("dir").exists());
    let moved = bed.csync(&["data", "move", "dir", "--to", "lab"]).exits(0).out;
    assert!(moved.contains("Moved 1 output (2.9M)"), "{moved}");
    let lies = bed.csync(&["data", "where", "dir", "--json"]).exits(0).json();
    assert_eq!((lies.as_array().unwrap().len(), &lies[0]["host"]), (1, &serde_json::json!("lab")));
    let refused = bed.csync(&["data", "rm", "dir"]).exits(4);
    assert!(refused.err.contains("no other copy"), "{}", refused.err);
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    let got = bed.csync(&["data", "get", "dir"]).exits(0).out;
    assert!(got.contains("Fetched 1 output (2.9M)"), "{got}");
    assert_eq!(bed.on("laptop", &format!("cksum < {}", bed.path("dir/one").display())).out, sum);
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    bed.csync(&["data", "rm", "dir"]).exits(0);
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    bed.on("login", "rm ~/began-killed ~/go-killed").exits(0);
}

#[test]
fn copies_are_fetched_moved_and_removed() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.make]\noutputs = [\"big\"]\nrun = \"head -c 3000000 /dev/zero > big\"\non = \"hpc\"\n",
    );
    bed.csync(&["submit"]).exits(0);
    let there = |host: &str| {
        let listed = bed.csync(&["data", "where", "big", "--json"]).exits(0).json();
        let copy = listed.as_array().unwrap().iter().find(|copy| copy["host"] == host).cloned();
        copy.map(|copy| format!("{}/big", copy["place"].as_str().unwrap()))
    };
    let first = there("hpc").unwrap();
    let refused = bed.csync(&["data", "rm", "big"]).exits(4);
    assert!(refused.err.contains("no other copy") && refused.err.contains("--last"), "{}", refused.err);
    assert!(bed.csync(&["data", "get", "gone"]).exits(3).err.contains("no host is known"));
    let moved = bed.csync(&["data", "move", "big", "--to", "lab"]).exits(0).out;
    assert!(moved.contains("Moved 1 output"), "{moved}");
    assert!(there("hpc").is_none() && !bed.path("big").exists());
    bed.on("login", &format!("[ ! -e {first} ]")).exits(0);
    let second = there("lab").unwrap();
    bed.on("station", &format!("[ $(wc -c <{second}) = 3000000 ]")).exits(0);
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    bed.csync(&["data", "get"]).exits(0);
    assert_eq!(fs::metadata(bed.path("big")).unwrap().len(), 3_000_000);
    // Here is another copy.
    bed.csync(&["data", "rm", "big", "--on", "lab"]).exits(0);
    bed.on("station", &format!("[ ! -e {second} ]")).exits(0);
    assert!(bed.csync(&["data", "list"]).exits(0).err.contains("Nothing lies on hosts"));
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // One that vanished from its host is made anew by the submission after that which missed it.
    bed.write(
        "workflow.toml",
        "name = \"v\"\n[tasks.make]\noutputs = [\"vast\"]\nrun = \"head -c 2000000 /dev/zero > vast\"\non = \"hpc\"\n\
         [tasks.use]\ninputs = [\"vast\"]\nrun = \"wc -c < vast\"\n",
    );
    bed.csync(&["submit", "--only", "make"]).exits(0);
    let lies = bed.csync(&["data", "where", "vast", "--json"]).exits(0).json();
    let place = lies[0]["place"].as_str().unwrap();
    bed.on("login", &format!("rm {place}/vast")).exits(0);
    let missed = bed.csync(&["submit"]).exits(1);
    assert!(missed.out.contains("gone"), "{}", missed.out);
    bed.csync(&["submit"]).exits(0);
}

#[test]
fn what_a_host_sees_too_does_not_move() {
    let bed = Bed::shared();
    know(&bed, HOSTS);
    // The cluster's scratch lies below a directory that the laptop sees under the same name.
    let scratch = bed.scratch("login");
    let name = scratch.rsplit('/').next().unwrap();
    let seen = format!("/run/bed/scratch/hpc/{name}");
    bed.on("login", &format!("mkdir {seen}/work && echo one > {seen}/work/in")).exits(0);
    let text = "name = \"shared\"\n[tasks.t]\ninputs = [\"in\"]\noutputs = [\"out\", \"big\"]\n\
                run = \"pwd -P > out; cat in >> out; head -c 2000000 /dev/zero > big\"\non = \"hpc\"\n";
    bed.on("login", &format!("cat > {seen}/work/workflow.toml <<'END'\n{text}END")).exits(0);
    let file = format!("{seen}/work/workflow.toml");
    bed.csync(&["submit", &file]).exits(0);
    let out = bed.on("login", &format!("cat {seen}/work/out")).exits(0).out;
    assert_eq!(out, format!("{seen}/work\none\n"));
    assert!(bed.csync(&["data", "list"]).exits(0).err.contains("Nothing lies on hosts"), "not even the large one");
    assert!(bed.csync(&["submit", &file]).exits(0).out.contains("everything is up to date"));
    let left = bed.on("login", &format!("ls -A {seen}/work")).exits(0).out;
    assert!(!left.contains("seen-"), "{left}");
    bed.on("login", &format!("echo two > {seen}/work/in")).exits(0);
    bed.csync(&["submit", &file]).exits(0);
    assert!(bed.on("login", &format!("cat {seen}/work/out")).out.ends_with("two\n"));
}

#[test]
fn two_hosts_of_one_filesystem_pass_nothing_on() {
    let bed = Bed::shared();
    let scratch = bed.scratch("login");
    know(
        &bed,
        &format!(
            "[hosts.first]\nssh = \"login\"\nbatch = \"none\"\nkeep_above = \"1M\"\nscratch = \"{scratch}/a\"\n\
             [hosts.second]\nssh = \"login2\"\nbatch = \"none\"\nkeep_above = \"1M\"\nscratch = \"{scratch}/b\"\n"
        ),
    );
    bed.write(
        "workflow.toml",
        "name = \"near\"\n[tasks.make]\noutputs = [\"big\", \"dir\"]\non = \"first\"\n\
         run = \"head -c 3000000 /dev/urandom > big; mkdir -p dir; head -c 3000000 /dev/urandom > dir/file; ln -sf file dir/link\"\n\
         [tasks.use]\ninputs = [\"big\", \"dir\"]\noutputs = [\"inode\"]\nrun = \"stat -L -c %i big dir/* > inode\"\non = \"second\"\n",
    );
    bed.csync(&["submit"]).exits(0);
    let made = bed.on("login", &format!("cd {scratch}/a/trees/*/ && stat -L -c %i big dir/*")).exits(0).out;
    assert_eq!(bed.read("inode"), made, "they are the very same files");
    assert!(!bed.path("big").exists() && !bed.path("dir").exists());
    // The one copy goes, the other stays whole.
    bed.csync(&["data", "rm", "big", "dir", "--on", "first"]).exits(0);
    bed.csync(&["submit", "--rerun=use"]).exits(0);
    assert_eq!(bed.read("inode"), made);
    bed.csync(&["data", "get"]).exits(0);
    assert_eq!(fs::metadata(bed.path("dir/link")).unwrap().len(), 3_000_000);
}

#[test]
fn what_hosts_see_in_one_place_is_one_copy_and_a_link_is_none() {
    let bed = Bed::shared();
    let scratch = bed.scratch("login");
    let host = |name: &str, ssh: &str, place: &str| {
        format!(
            "[hosts.{name}]\nssh = \"{ssh}\"\nbatch = \"none\"\nkeep_above = \"1M\"\nscratch = \"{scratch}/{place}\"\n"
        )
    };
    know(
        &bed,
        &[host("first", "login", "one"), host("same", "login2", "one"), host("apart", "login2", "two")].concat(),
    );
    let task = |on: &str| {
        format!(
            "name = \"one\"\n[tasks.make]\noutputs = [\"big\"]\non = \"first\"\nrun = \"head -c 3000000 /dev/urandom > big\"\n\
                 [tasks.use]\ninputs = [\"big\"]\noutputs = [\"size\"]\nrun = \"wc -c < big > size\"\non = \"{on}\"\n"
        )
    };
    bed.write("workflow.toml", task("apart"));
    bed.csync(&["submit"]).exits(0);
    // As where files cannot be linked but by name: the one goes with the other.
    let relink = format!("ln -sf {scratch}/one/trees/*/big {scratch}/two/trees/*/big");
    bed.on("login", &relink).exits(0);
    let refused = bed.csync(&["data", "rm", "big", "--on", "first"]).exits(4);
    assert!(refused.err.contains("has no other copy than that on `first`"), "{}", refused.err);
    bed.csync(&["data", "rm", "big", "--on", "apart"]).exits(0);
    // It lies already where it is to go, and stays.
    bed.csync(&["data", "move", "big", "--to", "same"]).exits(0);
    let listed = bed.csync(&["data", "list"]).exits(0).out;
    assert!(listed.contains("same") && !listed.contains("first"), "{listed}");
    bed.csync(&["data", "get", "big"]).exits(0);
    assert_eq!(fs::metadata(bed.path("big")).unwrap().len(), 3_000_000);
}

#[test]
fn a_transfer_that_broke_goes_on_where_it_ended() {
    const SIZE: u64 = 96 << 20;
    let bed = Bed::own(&["slurm"]);
    know(&bed, "[hosts.lab]\nssh = \"station\"\nbatch = \"none\"\n");
    let mut bytes = vec![0; SIZE as usize];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bed.write("large", &bytes);
    bed.write(
        "workflow.toml",
        "name = \"cut\"\n[tasks.t]\ninputs = [\"large\"]\noutputs = [\"sum\"]\nrun = \"cksum < large > sum\"\non = \"lab\"\n",
    );
    // Slow enough to be caught in the middle.
    bed.now("delay station 20");
    bed.csync(&["submit", "--detach"]).exits(0);
    let part = || {
        let size = bed.on("station", "stat -c %s ~/.csync/trees/*/.csync-*.part 2>/dev/null").out;
        size.trim().parse::<u64>().unwrap_or(0)
    };
    until("a part of it arrives", || part() > 16 << 20);
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    assert!(why.contains("staging ") && why.contains(" of 96M to lab"), "{why}");
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains(" of 96M to lab"), "{show}");
    bed.now("stop-part sshd-station");
    let has = part();
    assert!(has > 16 << 20 && has < SIZE, "{has} of {SIZE} had arrived");
    bed.now("delay station 0");
    let received = || {
        let counters = bed.on("station", "cat /proc/net/dev").exits(0).out;
        let line = counters.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap().to_owned();
        line.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let before = received();
    bed.now("start-part sshd-station");
    bed.csync(&["wait", "last"]).exits(0);
    let came = received() - before;
    assert!(came < SIZE - has + (8 << 20), "{came} bytes came, {} were lacking", SIZE - has);
    let sum = |bytes: &[u8]| csync::reach::transport::Sum::of(bytes).to_string();
    assert_eq!(bed.read("sum").trim(), sum(&bytes));

    // Of what changed only the difference moves, where both ends have rsync.
    bytes.splice(0..0, *b"in front");
    bed.write("large", &bytes);
    let before = received();
    bed.csync(&["submit", "--detach"]).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    let came = received() - before;
    assert!(came < SIZE / 8, "{came} bytes came of a file with 8 new ones");
    assert_eq!(bed.read("sum").trim(), sum(&bytes));
}

#[test]
fn what_is_cancelled_while_its_inputs_are_brought_is_never_submitted() {
    const SIZE: usize = 96 << 20;
    let bed = Bed::own(&["slurm"]);
    know(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    let mut bytes = vec![0; SIZE];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bed.write("large", &bytes);
    for (n, piece) in bytes.chunks(1 << 20).take(60).enumerate() {
        bed.write(&format!("many/{n}"), piece);
    }
    let task =
        "outputs = [\"sum/{item}\"]\nrun = \"echo $CSYNC_JOB >> ~/started; cksum < large > {outputs}\"\non = \"hpc\"";
    let workflow = |inputs: &str| {
        format!("name = \"off\"\n[tasks.t]\nforeach = {{ range = [1, 2] }}\ninputs = [\"{inputs}\"]\n{task}\n")
    };
    bed.write("small.toml", workflow("many"));
    bed.write("large.toml", workflow("large"));
    let next_job = || {
        let config = bed.on("login", "scontrol show config").exits(0).out;
        let line = config.lines().find_map(|line| line.strip_prefix("NEXT_JOB_ID")).unwrap().to_owned();
        line.trim_start_matches([' ', '=']).trim().parse::<u32>().unwrap()
    };
    let first = next_job();
    // Slow enough to be caught in the middle: a stream of small files, then a large one.
    bed.now("delay gate 60");
    let stream = || bed.on("login", "ls -d ~/.csync/trees/*/.csync-in-* 2>/dev/null").out;
    let part = || {
        let size = bed.on("login", "stat -c %s ~/.csync/trees/*/.csync-*.part 2>/dev/null").out;
        size.trim().parse::<usize>().unwrap_or(0)
    };
    let off = |file: &str, is_on_its_way: &dyn Fn() -> bool| {
        bed.csync(&["submit", "--detach", file]).exits(0);
        until("its inputs are on their way", is_on_its_way);
        bed.csync(&["cancel", "last"]).exits(0);
        bed.csync(&["wait", "last"]).exits(130);
        why_says(&bed, "t[1]", &["it was cancelled", "nothing of it was submitted"]);
        let runs = bed.csync(&["runs", "--json"]).exits(0).json();
        assert_eq!(runs["runs"][0]["state"], "cancelled", "{runs}");
    };
    off("small.toml", &|| !stream().is_empty());
    until("nothing is left of the stream", || stream().is_empty());
    assert_eq!(bed.on("login", "ls ~/.csync/trees/*/").out, "", "not all of it had come");
    off("large.toml", &|| part() > 4 << 20);
    let writers = "readlink /proc/[0-9]*/fd/* 2>/dev/null | grep 'csync-.*part'";
    until("nobody writes to it any more", || bed.on("login", writers).out.is_empty());
    let has = part();
    assert!(has > 4 << 20 && has < SIZE, "{has} of {SIZE} had come");
    nothing_left(&bed, "login");
    assert_eq!((next_job(), bed.on("login", "cat ~/started").code), (first, 1), "the cluster never saw a job");

    // One of two that wait for the same: the other goes on where the transfer stood, and goes out alone.
    bed.csync(&["submit", "--detach", "large.toml"]).exits(0);
    until("it goes on", || part() > has);
    bed.csync(&["cancel", "last", "t[1]"]).exits(0);
    bed.now("delay gate 0");
    bed.csync(&["wait", "last"]).exits(130);
    let sum = format!("{}\n", csync::reach::transport::Sum::of(&bytes));
    assert_eq!((bed.read("sum/2"), bed.path("sum/1").exists()), (sum.clone(), false));
    assert_eq!((next_job(), bed.on("login", "cat ~/started").out.as_str()), (first + 1, "3.1.1\n"));
    bed.csync(&["retry", "last"]).exits(0);
    assert_eq!(bed.read("sum/1"), sum);
    assert_eq!(next_job(), first + 2);
    nothing_left(&bed, "login");
}

#[test]
fn a_disk_that_is_full_or_read_only_is_named() {
    let bed = Bed::shared();
    know(
        &bed,
        "[hosts.full]\nssh = \"station\"\nbatch = \"none\"\nscratch = \"/mnt/small/csync\"\n\
         [hosts.fixed]\nssh = \"station\"\nbatch = \"none\"\nscratch = \"/mnt/readonly/csync\"\n",
    );
    for (size, name) in [(3_000_000, "some"), (20 << 20, "large")] {
        bed.write(name, vec![7; size]);
        let text =
            format!("name = \"{name}\"\n[tasks.t]\ninputs = [\"{name}\"]\nrun = \"wc -c < {name}\"\non = \"full\"\n");
        bed.write("workflow.toml", text);
        let failed = bed.csync(&["submit"]).exits(1);
        assert!(failed.out.contains("No space left"), "{name}: {}", failed.out);
        assert!(failed.out.contains("full"), "{name}: {}", failed.out);
    }
    // What it could not take is not in its way.
    bed.write("small", "1");
    bed.write("workflow.toml", "name = \"s\"\n[tasks.t]\ninputs = [\"small\"]\nrun = \"cat small\"\non = \"full\"\n");
    assert_eq!(bed.on("station", "ls -A /mnt/small/csync/trees/*/").out, "");
    bed.csync(&["submit"]).exits(0);
    bed.on("station", "rm -rf /mnt/small/csync").exits(0);
    bed.write(
        "workflow.toml",
        "name = \"f\"\n[tasks.t]\ninputs = [\"small\"]\nrun = \"cat small\"\non = [\"fixed\", \"local\"]\n",
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("1 done"), "{}", done.out);
    let why = bed.csync(&["why", "t"]).exits(0).out;
    assert!(why.contains("Read-only file system"), "{why}");
}

#[test]
fn hosts_that_reach_each_other_send_without_us() {
    let bed = Bed::shared();
    let link = "[links]\n\"grid-center\" = { direct = true }\n";
    let hosts = "[hosts.grid]\nbatch = \"sge\"\nkeep_above = \"1M\"\n[hosts.center]\nssh = \"pbs\"\nbatch = \"none\"\n";
    know(&bed, &format!("{hosts}{link}"));
    bed.write(
        "workflow.toml",
        "name = \"direct\"\n[tasks.make]\noutputs = [\"big\", \"vast\"]\n\
         run = \"head -c 3000000 /dev/urandom > big; head -c 3000000 /dev/urandom > vast; cksum < big\"\non = \"grid\"\n\
         [tasks.use]\ninputs = [\"vast\"]\noutputs = [\"used\"]\nrun = \"wc -c < vast > used\"\non = \"center\"\n",
    );
    bed.csync(&["submit", "--only", "make"]).exits(0);
    let sum = bed.csync(&["logs", "last", "make"]).exits(0).out;
    let log = bed.dir().join("h/pbs/sshd.log");
    let calls = || fs::read_to_string(&log).unwrap().matches("Connection from 10.92.0.20").count();
    let before = calls();
    // It has no key yet: then bytes pass through here.
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("used").trim(), "3000000");
    let tried = calls();
    assert!(tried > before, "it was tried");
    // With a key of its own there.
    let key = fs::read_to_string(bed.home().join(".ssh/id_ed25519")).unwrap();
    let known = fs::read_to_string(bed.home().join(".ssh/known_hosts")).unwrap();
    let lay = format!(
        "umask 077; mkdir -p ~/.ssh; cat >~/.ssh/id_ed25519 <<'END'\n{key}END\ncat >~/.ssh/known_hosts <<'END'\n{known}END\n"
    );
    bed.on("grid", &lay).exits(0);
    let state = bed.home().join("state/engine.log");
    let through = || fs::read_to_string(&state).unwrap().matches("not go there directly").count();
    assert_eq!(through(), 1, "{}", fs::read_to_string(&state).unwrap());
    bed.csync(&["data", "move", "big", "--to", "center"]).exits(0);
    assert_eq!((calls(), through()), (tried + 1, 1));
    bed.csync(&["data", "get", "big"]).exits(0);
    assert_eq!(bed.on("laptop", &format!("cksum < {}", bed.path("big").display())).out, sum);
    bed.on("grid", "rm -r ~/.ssh").exits(0);
}

/// What a host does with an agent that it was lent, before it calls `ssh` as it was told: it looks for keys, and for other ways in.
const CURIOUS: &str = r#"#!/bin/sh
call() {
  /usr/bin/ssh -F none -o BatchMode=yes -o IdentityFile=none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no \
    "$@" 'echo got in' </dev/null 2>&1 | grep -E 'got in|Permission denied'
}
ssh-add -L | cut -d ' ' -f 1,2 >~/said/keys
call -l alice 10.92.0.20 >~/said/target
call -l noisy 10.92.0.20 >~/said/another-user
call -l alice 10.92.0.1 >~/said/another-host
call -l noisy 127.0.0.1 >~/said/itself
echo done >~/said/done
while [ -e ~/said/wait ]; do sleep 0.1; done
exec /usr/bin/ssh "$@"
"#;

#[test]
fn a_key_that_is_lent_opens_one_host_for_one_transfer() {
    let bed = Bed::shared();
    know(
        &bed,
        "[hosts.grid]\nbatch = \"none\"\n[hosts.center]\nssh = \"curious\"\nbatch = \"none\"\nkeep_above = \"1M\"\n\
         [links]\n\"center-grid\" = { agent = true }\n",
    );
    let config = bed.home().join(".ssh/config");
    let before = fs::read_to_string(&config).unwrap();
    let curious = "Host curious\n  HostName pbs\n  HostKeyAlias pbs\n  User noisy\n  ProxyJump gate\n";
    fs::write(&config, format!("{curious}{before}")).unwrap();
    let on = |script: &str| bed.on("pbs", &format!("HOME=~noisy; cd && {script}"));
    on(&format!(
        "mkdir -p bin said && cat >bin/ssh <<'END' && chmod 700 bin/ssh && mv .bashrc said/bashrc\n{CURIOUS}END"
    ))
    .exits(0);
    on("echo 'PATH=$HOME/bin:$PATH' >.bashrc").exits(0);
    bed.write(
        "workflow.toml",
        "name = \"lent\"\n[tasks.make]\noutputs = [\"one\", \"two\"]\n\
         run = \"head -c 3000000 /dev/urandom > one; head -c 3000000 /dev/urandom > two; cksum < one; cksum < two\"\n\
         on = \"center\"\n",
    );
    bed.csync(&["submit"]).exits(0);
    let sums = bed.csync(&["logs", "last", "make"]).exits(0).out;
    let log = bed.dir().join("h/grid/sshd.log");
    let calls = || fs::read_to_string(&log).unwrap().matches("Connection from 10.92.0.30").count();
    let through =
        || fs::read_to_string(bed.home().join("state/engine.log")).unwrap().matches("but through here").count();
    let agents = || {
        let mine = bed.home().join("state/ssh/agent-");
        let running = bed.on("laptop", "ps -A -o args").exits(0).out;
        let is_mine = |line: &&str| line.starts_with("ssh-agent ") && line.contains(mine.to_str().unwrap());
        running.lines().filter(is_mine).count()
    };
    bed.csync(&["data", "move", "one", "--to", "grid"]).exits(0);
    let said = |name: &str| on(&format!("cat said/{name}")).out;
    assert_eq!(through(), 0, "{}", fs::read_to_string(bed.home().join("state/engine.log")).unwrap());
    // It was asked for the target twice and let in as one user; nowhere else, and there was one key to ask for.
    assert_eq!(calls(), 3);
    assert_eq!(said("target"), "got in\n");
    for other in ["another-user", "another-host", "itself"] {
        assert!(
            said(other).contains("Permission denied") && !said(other).contains("got in"),
            "{other}: {}",
            said(other)
        );
    }
    let key = fs::read_to_string(bed.home().join(".ssh/id_ed25519.pub")).unwrap();
    assert_eq!(said("keys").trim(), key.split(' ').take(2).collect::<Vec<_>>().join(" "));
    until("the agent has left", || agents() == 0);
    // An engine that is killed in the midst of it takes the agent along.
    on("rm said/done; touch said/wait").exits(0);
    let mut moving = bed.csync_command(&["data", "move", "two", "--to", "grid"]).spawn().unwrap();
    until("it was asked", || said("done") == "done\n");
    assert!(agents() > 0, "it has an agent");
    let lock = fs::read_to_string(bed.home().join("state/engine.lock")).unwrap();
    bed.on("laptop", &format!("kill -9 {}", lock.split(' ').next().unwrap())).exits(0);
    until("the agent went with it", || agents() == 0);
    on("rm said/wait").exits(0);
    moving.wait().unwrap();
    bed.csync(&["data", "move", "two", "--to", "grid"]).exits(0);
    bed.csync(&["data", "get", "one", "two"]).exits(0);
    let here = ["one", "two"].map(|name| bed.on("laptop", &format!("cksum < {}", bed.path(name).display())).out);
    assert_eq!(here.concat(), sums);
    on("mv said/bashrc .bashrc; rm -r bin said").exits(0);
}

#[test]
fn an_engine_that_is_killed_while_outputs_come_back_leaves_nothing_half_and_the_next_one_goes_on() {
    const FILES: usize = 1500;
    const LARGE: u64 = 48 << 20;
    let bed = Bed::own(&[]);
    know(&bed, "[hosts.lab]\nssh = \"station\"\nbatch = \"none\"\npolicy = { connections_per_minute = 60 }\n");
    let trace = bed.scratch("station");
    bed.write(
        "workflow.toml",
        format!(
            "name = \"back\"\n[tasks.t]\noutputs = [\"out\"]\nresources = {{ time = \"10m\" }}\non = \"lab\"\nrun = '''\necho $CSYNC_JOB >> \
             {trace}/started\nmkdir -p out/deep\nfor i in $(seq {FILES}); do seq $i $((i + 2000)) > out/deep/$i; done\n\
             head -c {LARGE} /dev/urandom > out/large\ncksum < out/large > {trace}/sum\n'''\n"
        ),
    );
    // Slow enough to be caught in the middle.
    bed.now("delay station 30");
    bed.csync(&["submit", "--detach"]).exits(0);
    let find = |what: &str| {
        let found = std::process::Command::new("find").arg(bed.path("")).args(what.split(' ')).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // What has its name is whole.
    let check = |files: &[String]| {
        for file in files {
            let number: usize = file.rsplit('/').next().unwrap().parse().unwrap();
            let lines: Vec<String> = (number..=number + 2000).map(|line| line.to_string()).collect();
            assert_eq!(fs::read_to_string(file).unwrap(), lines.join("\n") + "\n", "{file}");
        }
    };
    let named = || find("-path */out/deep/* -type f -not -path */.csync-*");
    for point in ["small files come", "the large one comes"] {
        match point {
            "small files come" => until(point, || find("-path */.csync-in-*/deep/* -type f").len() > 50),
            _ => until(point, || find("-name .csync-*.part -size +4M").len() == 1),
        }
        signal(engine_pid(&bed), "KILL");
        check(&named());
        assert!(!bed.path("out/large").exists(), "half of it has its name");
        if point == "small files come" {
            assert!(named().len() < FILES, "it was too late to interrupt anything");
            bed.csync(&["status"]).exits(0);
            // Any command that asks an engine starts the next one.
            bed.csync(&["why", "last", "t"]).exits(0);
        }
    }
    bed.now("delay station 0");
    bed.csync(&["wait", "last"]).exits(0);
    let files = named();
    assert_eq!(files.len(), FILES);
    check(&files);
    let large = fs::read(bed.path("out/large")).unwrap();
    let sum = csync::reach::transport::Sum::of(&large).to_string();
    assert_eq!(bed.on("station", &format!("cat {trace}/sum")).out.trim(), sum);
    assert_eq!(bed.on("station", &format!("cat {trace}/started")).out.lines().count(), 1, "it ran once");
    assert_eq!(find("-name .csync-*"), Vec::<String>::new(), "nothing of what was interrupted stays");
    nothing_left(&bed, "station");
}
