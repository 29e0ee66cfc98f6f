//! What would become of a workflow on hosts that are described.

use crate::world::World;

#[test]
fn a_what_if_says_where_and_how_long_and_refuses_what_means_nothing() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.a]\nforeach = { range = [1, 20] }\ninputs = [\"in.txt\"]\noutputs = [\"{item}.out\"]\n\
         run = \"cp {inputs} {outputs}\"\nresources = { cpus = 2 }\n[tasks.b]\ninputs = [\"*.out\"]\nrun = \"cat {inputs}\"\n",
    );
    world.write("in.txt", "text\n");
    world.write(
        "hosts.toml",
        "[hosts.laptop]\ncores = 2\ndata = true\n[hosts.hpc]\nssh = \"hpc\"\ncores = 40\nspeed = 2.0\nwait = \"1m\"\n\
         [links]\n\"laptop-hpc\" = { rate = \"10M\" }\n[tasks.a]\ntime = \"20m\"\noutput = \"10M\"\n[chance]\nruns = 0.2\n",
    );
    let told = world.json(&["simulate", "--hosts", "hosts.toml", "--compare"]);
    assert_eq!(told["tasks"], 21, "{told}");
    let (middle, bound) = (told["middle_s"].as_f64().unwrap(), told["bound_s"].as_f64().unwrap());
    assert!(middle >= bound && middle < 10.0 * bound, "{told}");
    assert_eq!(told["placements"].as_array().map(Vec::len), Some(7), "{told}");
    let ran: u64 = told["hosts"].as_array().unwrap().iter().map(|host| host["tasks"].as_u64().unwrap()).sum();
    assert_eq!(ran, 21, "{told}");
    assert_eq!(told, world.json(&["simulate", "--hosts", "hosts.toml", "--compare"]), "a seed says it all");
    let page = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(0);
    assert!(page.out.contains("21 tasks on 2 hosts") && page.out.contains("laptop"), "{page:?}");
    world.write("hosts.toml", "[hosts.tiny]\ncores = 1\n");
    assert!(world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2).err.contains("a["), "the task is named");
    world.write("hosts.toml", "[hosts.tiny]\ncoers = 1\n");
    assert!(world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2).err.contains("coers"));
}

#[test]
fn a_what_if_that_never_ends_says_so_and_why() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.a]\nforeach = { range = [1, 3] }\ninputs = [\"in.txt\"]\noutputs = [\"{item}.out\"]\n\
         run = \"cp {inputs} {outputs}\"\nresources = { cpus = 2 }\n[tasks.b]\ninputs = [\"*.out\"]\nrun = \"cat {inputs}\"\n",
    );
    world.write("in.txt", "text\n");
    // The data lies where there is no room, and no link leads to where there is.
    world.write("hosts.toml", "[hosts.laptop]\ncores = 1\ndata = true\n[hosts.island]\ncores = 8\n");
    let told = world.csync(&["simulate", "--hosts", "hosts.toml", "--compare"]).exits(2);
    assert!(told.out.contains("4 tasks on 2 hosts: never (80 %: never to never)"), "{told:?}");
    assert_eq!(told.out.lines().filter(|line| line.matches("never").count() == 3).count(), 8, "{told:?}");
    for word in [
        "4 of 4 tasks never run on these hosts",
        "`a[1]` and 2 more like it: there is no way from `laptop`, where what is read lies, to `island`",
        "1 other only after such tasks",
        "`\"laptop-island\" = { rate = \"10M\" }` below `[links]`",
    ] {
        assert!(told.err.contains(word), "{word}: {told:?}");
    }
    let told = world.csync(&["simulate", "--hosts", "hosts.toml", "--compare", "--json"]).exits(2).json();
    assert!(told["middle_s"].is_null() && told["placements"][6]["middle_s"].is_null(), "{told}");
    assert_eq!((&told["never"]["tasks"], &told["never"]["waiting"]), (&4.into(), &1.into()), "{told}");
    assert!(told["hosts"].as_array().unwrap().iter().all(|host| host["tasks"] == 0), "{told}");
    assert_eq!(told["error"]["exit_code"], 2, "{told}");
    // Where there is another way, that is taken: what others make of it is nothing against it.
    world.write("hosts.toml", "[hosts.laptop]\ncores = 2\ndata = true\n[hosts.island]\ncores = 8\n");
    let told = world.json(&["simulate", "--hosts", "hosts.toml", "--compare"]);
    assert_eq!(told["middle_s"], 2400.0, "{told}");
    assert!(told["placements"][1]["middle_s"].is_null() && told["never"].is_null(), "{told}");
}

#[test]
fn a_what_if_holds_tasks_to_where_they_run_and_to_what_counts() {
    let world = World::new();
    let workflow = |more: &str| {
        let text = format!(
            "name = \"w\"\n{more}\n[tasks.b]\nrun = \"true\"\n[tasks.c]\nrun = \"true\"\n[tasks.d]\nrun = \"true\"\n"
        );
        world.write("workflow.toml", &text);
    };
    world.write(
        "hosts.toml",
        "[hosts.laptop]\ncores = 1\ndata = true\n[hosts.fast]\ncores = 8\nspeed = 4.0\nrate = 1.0\ntags = [\"gpu\"]\n\
         [hosts.slow]\ncores = 8\nspeed = 0.5\nrate = 0.001\ntags = [\"gpu\"]\n[hosts.store]\ntransfer_only = true\ncores = 99\nspeed = 9.0\n",
    );
    // How many ran on fast, laptop, slow and the store.
    let ran = |more: &[&str]| {
        let told = world.json(&[&["simulate", "--hosts", "hosts.toml"], more].concat());
        let hosts = told["hosts"].as_array().unwrap().clone();
        hosts.iter().map(|host| host["tasks"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    workflow("[defaults]\non = \"any\"");
    assert_eq!(ran(&[]), [3, 0, 0, 0]);
    // What reaches for the internet goes where there is some.
    let hosts = world.read("hosts.toml");
    world.write("hosts.toml", &hosts.replace("[hosts.fast]\n", "[hosts.fast]\ninternet = { compute = false }\n"));
    for (on, internet, on_fast) in [
        ("on = \"any\"", "true", 0),
        ("on = \"any\"", "false", 3),
        ("", "true", 0),
        ("on = [\"fast\", \"slow\"]", "true", 0),
        ("on = [\"fast\", \"slow\"]", "false", 3),
    ] {
        workflow(&format!("[defaults]\nresources = {{ internet = {internet}, time = \"1h\" }}\n{on}"));
        let ran = ran(&[]);
        assert_eq!((ran[0], ran.iter().sum::<u64>()), (on_fast, 3), "{on} {internet}");
    }
    workflow("[defaults]\nresources = { internet = true }\non = \"fast\"");
    world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2);
    world.write("hosts.toml", "[hosts.fast]\ncores = 8\ninternet = { compute = false }\n");
    workflow("[defaults]\nresources = { internet = true }");
    let refused = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2);
    assert!(refused.err.contains("no host with internet where task `b` may run"), "{refused:?}");
    world.write("hosts.toml", &hosts);
    for (on, hosts) in [
        ("\"slow\"", [0, 0, 3, 0]),
        ("[\"slow\", \"fast\"]", [0, 0, 3, 0]),
        ("\"tag:gpu\"", [3, 0, 0, 0]),
        ("\"gpu\"", [3, 0, 0, 0]),
        ("\"local\"", [0, 3, 0, 0]),
    ] {
        workflow(&format!("[defaults]\non = {on}"));
        assert_eq!(ran(&[]), hosts, "{on}");
    }
    // What says nothing beside what says something runs on this machine, which is where the files lie.
    workflow("[tasks.a]\nrun = \"true\"\non = \"slow\"");
    assert_eq!(ran(&[]), [0, 3, 1, 0]);
    // What counts is what the workflow says, or the command line.
    workflow("[defaults]\non = \"tag:gpu\"");
    assert_eq!(ran(&["--policy", "cheapest"]), [0, 0, 3, 0]);
    workflow("");
    let told = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(0);
    assert!(told.err.contains("No task says `on`: all hosts were compared"), "{told:?}");
    assert_eq!(ran(&[]), [3, 0, 0, 0]);
    assert_eq!(ran(&["--policy", "cheapest"])[0], 0, "no core costs more");
    workflow("[workflow]\npolicy = \"cheapest\"");
    assert_eq!(ran(&[])[0], 0, "no core costs more");
    // Hosts that are not described are refused, with the place and what there is.
    workflow("[defaults]\non = \"hpc\"");
    let told = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2);
    for word in [
        "task `b` runs on `hpc`",
        "hosts.toml describes no such host",
        "`fast`, `laptop`, `slow`, `store`",
        "workflow.toml:3",
    ] {
        assert!(told.err.contains(word), "{word}: {told:?}");
    }
    world.write("hosts.toml", "[hosts.fast]\n");
    workflow("[defaults]\non = \"local\"");
    assert!(world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2).err.contains("`data = true`"));
}

#[test]
fn a_what_if_counts_the_memory_that_is_said_or_learned() {
    let world = World::new();
    let mut rows = vec!["JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End".to_owned()];
    rows.extend((0..20).map(|n| format!("{n}|big|COMPLETED|600|{}K|32G|2026-11-20T00:00:00", 9_000_000 + n)));
    world.write("jobs.txt", &rows.join("\n"));
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let workflow = |resources: &str| {
        let text =
            format!("name = \"w\"\n[tasks.a]\nforeach = {{ range = [1, 4] }}\nrun = \"big {{item}}\"\n{resources}");
        world.write("workflow.toml", &text);
    };
    let hosts = |memory: &str, more: &str| {
        world.write("hosts.toml", &format!("[hosts.laptop]\ncores = 4\nmemory = \"{memory}\"\n{more}"));
    };
    let middle = || world.json(&["simulate", "--hosts", "hosts.toml"])["middle_s"].as_f64().unwrap();
    // Four at a time by their cores; by the nine gigabytes that each is known to take, one.
    for resources in ["", "resources = { mem = \"auto\" }\n"] {
        workflow(resources);
        hosts("64G", "");
        assert!((590.0..700.0).contains(&middle()), "{resources}: {}", middle());
        hosts("16G", "");
        assert!((2390.0..2800.0).contains(&middle()), "{resources}: {}", middle());
    }
    let told = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(0);
    assert!(told.err.contains("Memory: 4 learned."), "{told:?}");
    // What is asked for comes before what was learned, and what the file says before both.
    workflow("resources = { mem = \"4G\" }\n");
    assert!((590.0..700.0).contains(&middle()), "{}", middle());
    hosts("16G", "[tasks.a]\nmemory = \"8G\"\n");
    assert!((1190.0..1400.0).contains(&middle()), "{}", middle());
    let told = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(0);
    assert!(told.err.contains("Memory: 4 said by the file."), "{told:?}");
    hosts("16G", "[tasks.a]\nmemory = \"lots\"\n");
    assert!(world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2).err.contains("amount of memory"));
    // Nowhere is there as much.
    hosts("16G", "[tasks.a]\nmemory = \"17G\"\n");
    let told = world.csync(&["simulate", "--hosts", "hosts.toml"]).exits(2);
    assert!(
        told.err.contains("no host has the room that `a[1]` needs where it may run: 1 core, 17G of memory"),
        "{told:?}"
    );
    assert!(told.err.contains("describe a host that has it") && !told.err.contains("task 0"), "{told:?}");
}

#[test]
fn a_what_if_runs_tasks_near_a_dataset_where_it_lies() {
    let world = World::new();
    world.write(
        "hosts.toml",
        "[hosts.laptop]\ncores = 4\ndata = true\n[hosts.a]\ncores = 4\n[hosts.b]\ncores = 4\nspeed = 2.0\n",
    );
    let ran = |at: &str| {
        let text =
            format!("name = \"w\"\n[data.reads]\nat = [{at}]\n[tasks.x]\nrun = \"true\"\non = \"near:data:reads\"\n");
        world.write("workflow.toml", &text);
        let told = world.json(&["simulate", "--hosts", "hosts.toml"]);
        let hosts = told["hosts"].as_array().unwrap().clone();
        hosts.iter().map(|host| host["tasks"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // Counts of a, b and the laptop.
    assert_eq!(ran("\"a:/scratch/reads\""), [1, 0, 0]);
    assert_eq!(ran("\"laptop:/scratch/reads\""), [0, 0, 1]);
    assert_eq!(ran("\"laptop:/scratch/reads\", \"b:/scratch/reads\""), [0, 1, 0], "the best of those that hold it");
}

#[test]
fn a_what_if_names_what_it_cannot_mean() {
    let world = World::new();
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\noutputs = [\"out\"]\nrun = \"touch {outputs}\"\n");
    let simulated = |text: &str| {
        world.write("hosts.toml", text);
        world.csync(&["simulate", "--hosts", "hosts.toml"])
    };
    let told = simulated("[hosts.laptop]\ncores = 2\n").exits(0);
    assert!(told.err.contains("1 file of unknown size counts as empty"), "{told:?}");
    let told = simulated("[hosts.laptop]\ncores = 2\n[tasks.nosuch]\ntime = \"1h\"\n").exits(2);
    assert!(told.err.contains("[tasks.nosuch]: the workflow has no task of that name"), "{told:?}");
    assert!(told.err.contains("it has `a`"), "{told:?}");
    for rate in ["fast", "0"] {
        let told = simulated(&format!("[hosts.a]\n[hosts.b]\n[links]\n\"a-b\" = {{ rate = \"{rate}\" }}\n")).exits(2);
        assert!(told.err.contains(&format!("`{rate}` is no rate: bytes a second, like 10M")), "{told:?}");
        assert!(!told.err.contains("memory"), "{told:?}");
    }
}
