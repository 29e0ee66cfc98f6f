//! What runs containers on this machine.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::model::host::ContainerRuntime;

/// Returns where daemons of this machine listen, in the order of [`FIND_SOCKETS`](crate::language::container::FIND_SOCKETS).
pub(super) fn sockets() -> Vec<String> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let said = |name: &str| var(name).and_then(|value| value.strip_prefix("unix://").map(str::to_owned));
    let run = var("XDG_RUNTIME_DIR");
    let own = |end: &str| run.as_ref().map(|run| format!("{run}/{end}"));
    let fixed = |path: &str| Some(path.to_owned());
    let all = [
        said("DOCKER_HOST"),
        fixed("/var/run/docker.sock"),
        own("docker.sock"),
        said("CONTAINER_HOST"),
        own("podman/podman.sock"),
        fixed("/run/podman/podman.sock"),
    ];
    all.into_iter().flatten().filter(|path| access(path.as_str(), Access::WRITE_OK).is_ok()).collect()
}

/// Returns what runs containers on this machine that this account may use, as far as can be seen without asking it.
pub fn runtimes() -> Vec<ContainerRuntime> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| std::env::split_paths(&path).any(|dir| is_program(&dir.join(name)));
    let listens = |what: &str| sockets().iter().any(|socket| socket.contains(what));
    let runs = |runtime: ContainerRuntime, name: &str| match runtime {
        // Its program alone does nothing; a socket of another name is most likely one of its kind.
        ContainerRuntime::Docker => sockets().iter().any(|socket| !socket.contains("podman")),
        ContainerRuntime::Podman => has(name) || listens("podman"),
        ContainerRuntime::Apptainer | ContainerRuntime::Singularity => has(name),
    };
    ContainerRuntime::ALL
        .into_iter()
        .filter(|(runtime, name)| runs(*runtime, name))
        .map(|(runtime, _)| runtime)
        .collect()
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}
