//! What comes back of tasks that ran on a host, and what is remembered of them.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use csync::model::job::{Outcome, State};

use crate::arena::{World, kill, until};

/// A world with a cluster that is made up on this machine.
fn far() -> World {
    let mut world = World::new();
    world.write("../config/hosts.toml", "[hosts.hpc]\nsimulated = { nodes = 2, cores = 8 }\n");
    let config = world.state().with_file_name("config");
    world.set("CSYNC_CONFIG", &config.display().to_string());
    world
}

/// Puts an older file with something else in it in the place of the input of a task that runs and has read it.
fn edited(world: &World) {
    let work = world.work();
    let work = work.display();
    world.write("in", "old\n");
    world.workflow(&format!(
        "[tasks.t]\non = \"hpc\"\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = \"cat in > out; touch {work}/began; until [ -e {work}/go ]; do sleep 0.05; done\"\n"
    ));
    world.submit_detached();
    until("it has read its input", || world.has("began"));
    world.write("in", "another\n");
    let other = fs::File::options().write(true).open(world.work().join("in")).expect("the input");
    other.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a time");
}

/// Has the task end, and runs it once more: for what it reads now, and no further time.
fn runs_again_once(world: &World) {
    world.write("go", "");
    world.csync(&["wait", "last"]).code(0);
    assert_eq!(world.read("out"), "old\n");
    world.submit().code(0);
    assert_eq!((world.counts().as_str(), world.read("out").as_str()), ("1 done", "another\n"));
    world.submit().code(0).says(&["everything is up to date"]);
}

#[test]
fn what_is_put_in_an_inputs_place_while_its_task_runs_on_a_host_is_read_by_the_next_run() {
    let world = far();
    edited(&world);
    runs_again_once(&world);
    let left = || fs::read_dir(world.state().join("incoming")).expect("a directory").count();
    until("nothing is kept of what is over", || left() == 0);
}

#[test]
fn it_is_also_where_another_engine_sees_the_end_of_the_task() {
    let world = far();
    edited(&world);
    kill(world.engine().expect("an engine"));
    until("it is gone", || world.engine().is_none());
    runs_again_once(&world);
}

#[test]
fn what_a_run_itself_puts_into_inputs_keeps_nothing_from_being_up_to_date() {
    let world = far();
    world.write("own/in", "in\n");
    world.write("made/before", "before\n");
    world.workflow(
        "[defaults]\non = \"hpc\"\n\
         [tasks.make]\noutputs = [\"made/a\", \"b\"]\nrun = \"echo a > made/a; echo b > b\"\n\
         [tasks.read]\ninputs = [\"b\", \"own/in\"]\noutputs = [\"read\"]\nrun = \"cat b own/in > read\"\n\
         [tasks.own]\ninputs = [\"own\"]\noutputs = [\"own/out\"]\nrun = \"cat own/in > own/out\"\n\
         [tasks.around]\nneeds = [\"make\"]\ninputs = [\"made\"]\noutputs = [\"around\"]\nrun = \"cat made/* > around\"\n",
    );
    world.csync(&["submit", "--ahead", "workflow.toml"]).code(0);
    assert_eq!((world.read("read"), world.read("around")), ("b\nin\n".to_owned(), "a\nbefore\n".to_owned()));
    world.submit().code(0).says(&["everything is up to date"]);
}

#[test]
fn all_that_members_print_comes_however_many_of_them_end_while_that_of_others_comes() {
    const MEMBERS: usize = 12;
    let world = far();
    world.workflow(&format!(
        "[tasks.t]\non = \"hpc\"\nforeach = {{ range = [1, {MEMBERS}] }}\nresources = {{ cpus = 1, mem = \"100M\" }}\n\
         run = \"sleep $(( {{item}} / 2 )); head -c 15000000 /dev/urandom | base64 -w 100; echo end {{item}}\"\n"
    ));
    world.submit().code(0);
    for (at, member) in (1..=MEMBERS).enumerate() {
        let log = world.state().join(format!("runs/1/logs/0/{at}.1.out"));
        let bytes = fs::read(&log).unwrap_or_else(|error| panic!("{member}: {}: {error}", log.display()));
        assert_eq!(bytes.len(), 20_200_000 + format!("end {member}\n").len(), "of member {member}");
        assert!(bytes.ends_with(format!("\nend {member}\n").as_bytes()), "member {member}'s own");
    }
}

#[test]
fn what_one_member_makes_that_cannot_be_had_keeps_no_other_outputs_from_coming() {
    let world = far();
    let work = world.work();
    let work = work.display();
    world.workflow(&format!(
        r#"
        [tasks.t]
        on = "hpc"
        foreach = {{ range = [1, 6] }}
        outputs = ["o/{{item}}"]
        resources = {{ cpus = 1, mem = "100M" }}
        run = '''
        mkdir -p {{outputs}}
        echo {{item}} > {{outputs}}/f
        [ {{item}} != 3 ] || touch {{outputs}}/$(printf 'caf\351')
        [ {{item}} != 5 ] || touch "{{outputs}}/$(printf 'line\nend')"
        touch {work}/began-{{item}}
        until [ -e {work}/go ]; do sleep 0.05; done
        '''
        "#
    ));
    world.submit_detached();
    until("all run", || (1..=6).all(|n| world.has(format!("began-{n}"))));
    world.write("go", "");
    world.csync(&["wait", "last"]).code(1);
    for (instance, n) in world.instances("last", "t").iter().zip(1..) {
        let outcome = instance.attempts.last().and_then(|attempt| attempt.outcome.clone());
        let words = match n {
            3 => Some(("o/3/caf", "`end`")),
            5 => Some(("`end`", "o/3/caf")),
            _ => None,
        };
        if let Some((own, other)) = words {
            let Some(Outcome::Stage { message }) = &outcome else { panic!("{n}: {outcome:?}") };
            assert!(message.contains(own) && !message.contains(other), "{n}: its own: {message}");
        } else {
            assert_eq!((instance.state, outcome), (State::Done, Some(Outcome::Success)), "{n}");
            assert_eq!(world.read(format!("o/{n}/f")), format!("{n}\n"));
        }
    }
}
