//! Which copies stand for themselves: a link to another copy is none, nor is the same file by the name of another host.

use std::collections::BTreeSet;

use crate::model::data::Replica;
use crate::model::host::HostName;
use crate::reach::transport::{Exec, Transport};
use crate::serve::engine::data::heaps;
use crate::serve::site::is_one;
use crate::serve::site::stock::Stock;

/// Prints those of the files given that are links, each with a NUL behind it.
const LINKS: &str = r#"xargs -0 sh -c 'for file; do [ ! -L "$file" ] || printf "%s\0" "$file"; done' sh"#;

/// Returns which of these copies are links there, by host and path. Of a host that cannot be asked it is taken that all
/// are: nothing rests on it then.
pub(super) async fn links<'a>(
    stock: &Stock,
    copies: impl Iterator<Item = &'a Replica>,
) -> BTreeSet<(HostName, String)> {
    let mut found = BTreeSet::new();
    for ((host, ..), copies) in heaps(copies.cloned().collect()) {
        let list: Vec<u8> = copies.iter().flat_map(|copy| [copy.there().as_bytes(), b"\0"].concat()).collect();
        let asked = async { stock.way(&host).await.ok()?.exec(Exec::new(LINKS).reading(list)).await.ok() };
        let Some(reply) = asked.await.filter(|reply| reply.status.is_success()) else {
            found.extend(copies.iter().map(|copy| (host.clone(), copy.there())));
            continue;
        };
        let paths = reply.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty());
        found.extend(paths.map(|path| (host.clone(), String::from_utf8_lossy(path).into_owned())));
    }
    found
}

/// Returns which of these copies go with others that are to go, by host and path: both hosts have one and the same directory, whatever
/// it is called there. Where that cannot be found out, it is taken that they do.
pub(super) async fn going_along<'a>(
    stock: &Stock,
    going: &[Replica],
    copies: impl Iterator<Item = &'a Replica>,
) -> BTreeSet<(HostName, String)> {
    let mut found = BTreeSet::new();
    let going = heaps(going.to_vec());
    for ((host, place, root), copies) in heaps(copies.cloned().collect()) {
        for (source, from, _) in going.keys().filter(|(source, _, of)| *of == root && *source != host) {
            let same = async {
                let (near, far) = (stock.way(source).await.ok()?, stock.way(&host).await.ok()?);
                is_one((&near, from), (&far, &place)).await.ok()?
            };
            if same.await.unwrap_or(true) {
                found.extend(copies.iter().map(|copy| (host.clone(), copy.there())));
            }
        }
    }
    found
}
