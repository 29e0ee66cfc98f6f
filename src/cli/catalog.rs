//! What is known of datasets, for commands that need no engine.

use std::collections::BTreeMap;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::{Answers, Known, connections, way};
use crate::decide::graph::datasets::Catalog;
use crate::model::data::Holding;
use crate::reach::store::{Place, Reader};
use crate::reach::transport::TransportError;
use crate::serve::engine::storage;
use crate::serve::prepare::sets;

/// Returns what is known of the datasets that a workflow names. Those that nobody has looked at yet are looked at.
pub(super) fn catalog(context: &Context, text: &str, params: &BTreeMap<String, String>) -> Result<Catalog, Failure> {
    if !text.contains("data:") && !params.values().any(|value| value.contains("data:")) {
        return Ok(Catalog::default());
    }
    let known = datasets(context)?;
    let catalog = sets::named(text, params, known);
    let places: Vec<Holding> = catalog.iter().flat_map(|(_, places)| places).cloned().collect();
    if places.iter().all(|place| place.looked.is_some() || place.trouble.is_some()) {
        return Ok(catalog);
    }
    let hosts = Known::load(context)?;
    let connections = connections(context, Answers::Nobody)?;
    let (seen, unseen): (Vec<_>, Vec<_>) =
        places.iter().cloned().partition(|place| place.looked.is_some() || place.trouble.is_some());
    let looked = context.block_on(async {
        let looked = sets::look_at(unseen, Some(sets::PATIENCE), |name| {
            let (host, connections) = (hosts.hosts.get(name.as_str()), &connections);
            async move {
                let unknown = || TransportError::Configuration {
                    host: name.to_string(),
                    detail: "hosts.toml does not name it".to_owned(),
                };
                way(connections, host.ok_or_else(unknown)?).await
            }
        });
        let looked = looked.await;
        connections.close().await;
        Ok(looked)
    })?;
    let newest = |place: Holding| {
        let same =
            |known: &&Holding| (&known.dataset, &known.host, &known.path) == (&place.dataset, &place.host, &place.path);
        looked.iter().chain(&seen).find(same).cloned().unwrap_or(place)
    };
    Ok(Catalog::new(places.into_iter().map(newest)))
}

/// Returns what is known of datasets.
pub(super) fn datasets(context: &Context) -> Result<Vec<Holding>, Failure> {
    let Ok(state_dir) = context.state_dir() else { return Ok(Vec::new()) };
    let place = Place::of(&state_dir);
    if !place.path.exists() {
        return Ok(Vec::new());
    }
    context.block_on(async {
        match Reader::open(&place).await.map_err(|error| storage(&error))? {
            Some(reader) => Ok(reader.datasets(None).await.map_err(|error| storage(&error))?),
            None => Ok(Vec::new()),
        }
    })
}
