//! The one test binary: a module per journey. Files named `needs_*` need programs that not every machine has; `tests/run`
//! leaves them out where these are missing and says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends; clippy.toml allows it inside `#[test]` alone"
)]

mod arena;
mod bed;
mod deps;
mod engine;
mod far;
mod faults;
mod fuzzed;
mod hook;
mod house;
mod journey_cli;
mod journey_copies;
mod journey_demo;
mod journey_fetch;
mod journey_index;
mod journey_inputs;
mod journey_learned;
mod journey_profile;
mod journey_route;
mod journey_secret;
mod journey_simulate;
mod journey_tools;
mod kill;
mod lines;
mod listed;
mod needs_access;
mod needs_agents;
mod needs_apptainer;
mod needs_batch;
mod needs_bed;
mod needs_bio;
mod needs_cgroup;
mod needs_clients;
mod needs_clock;
mod needs_command;
mod needs_conda;
mod needs_docker;
mod needs_faults;
mod needs_faults_batch;
mod needs_faults_link;
mod needs_frames;
mod needs_hosts;
mod needs_limits;
mod needs_look;
mod needs_modules;
mod needs_mount;
mod needs_munge;
mod needs_nfs;
mod needs_nodes;
mod needs_openpbs;
mod needs_pbs;
mod needs_picture;
mod needs_placement;
mod needs_podman;
mod needs_quota;
mod needs_registry;
mod needs_runtimes;
mod needs_scale;
mod needs_sites;
mod needs_ssh;
mod needs_stage;
mod needs_terminal;
mod needs_trees;
mod needs_wrapper;
mod oracle;
mod reference;
mod runner;
mod transport;
mod worker;
mod workflows;
mod world;
