//! Logins to registries, as `docker login` and `podman login` on this machine keep them.

use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use serde_json::Value;

use crate::language::base64;

/// Where Docker Hub's logins stand.
const HUB: &str = "https://index.docker.io/v1/";

/// Returns what the registry of an image is to be told; nothing where nobody logged in to it. A daemon on another host is told
/// it for this one pull.
pub(super) fn login(image: &str) -> Option<DockerCredentials> {
    files().into_iter().find_map(|path| read(&std::fs::read_to_string(path).ok()?, image))
}

fn files() -> Vec<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = var("HOME");
    let docker = var("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    let podman = var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    docker.map(|dir| dir.join("config.json")).into_iter().chain(podman).collect()
}

/// Reads the login of an image's registry. What a helper program keeps is not known here.
fn read(config: &str, image: &str) -> Option<DockerCredentials> {
    let config: Value = serde_json::from_str(config).ok()?;
    let server = server(image);
    let kept = config.get("auths")?.get(server)?;
    let text = String::from_utf8(base64::decode(kept.get("auth")?.as_str()?)?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Returns the registry that an image's name begins with.
fn server(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(HUB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_an_images_registry_is_found() {
        let config = r#"{"auths": {"lab.example:5000": {"auth": "YW5uOmh1c2g6eA=="}, "https://index.docker.io/v1/": {"auth": "Ym9iOng="}, "bad": {}}}"#;
        let found = |image: &str| {
            let found = read(config, image)?;
            Some(format!("{} {}", found.username?, found.password?))
        };
        for (image, login) in [
            ("lab.example:5000/a/b:1", Some("ann hush:x")),
            ("python:3.12", Some("bob x")),
            ("biocontainers/star", Some("bob x")),
            ("quay.io/a/b", None),
        ] {
            assert_eq!(found(image).as_deref(), login, "{image}");
        }
        assert!(read("{", "python").is_none() && read("{}", "python").is_none());
    }
}
