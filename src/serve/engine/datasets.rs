//! Named datasets: taken in, looked at again, forgotten; and what a submission needs to know of them.

use std::path::Path;

use crate::decide::graph::datasets::Catalog;
use crate::model::api::{ApiError, DataAsk, ErrorKind, Submission};
use crate::model::data::{DataFact, DatasetAsk, Holding, Trouble};
use crate::serve::engine::handle::Handle;
use crate::serve::engine::refusal::{refuse, storage};
use crate::serve::prepare::sets::{PATIENCE, is_due, look_at, named};

impl Handle {
    /// Returns the places of all datasets.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn datasets(&self) -> Result<Vec<Holding>, ApiError> {
        self.reader.datasets(None).await.map_err(|error| storage(&error))
    }

    /// Takes in places of a dataset beside those that it has, and looks at all of them.
    ///
    /// # Errors
    /// When a place is none, or its host is unknown.
    pub async fn add_dataset(&self, ask: DatasetAsk) -> Result<Vec<Holding>, ApiError> {
        let name = ask.names.first().cloned().unwrap_or_default();
        check_name(&name)?;
        let mut places = self.reader.datasets(Some(&name)).await.map_err(|error| storage(&error))?;
        let known = places.len();
        let (_, hosts) = self.stock(&asker(&ask)).await?;
        for (host, path) in ask.places.iter().cloned() {
            if !hosts.iter().any(|known| known.name == host) {
                return Err(ApiError {
                    hint: Some("`csync hosts list` shows them; this machine is `local`".to_owned()),
                    ..refuse(ErrorKind::NotFound, format!("hosts.toml names no host `{host}`"))
                });
            }
            if !path.starts_with('/') || Path::new(&path).components().any(|part| part.as_os_str() == "..") {
                return Err(ApiError {
                    hint: Some(format!("write `csync data add {name} {host}:/DIRECTORY`")),
                    ..refuse(ErrorKind::Invalid, format!("`{path}` is no absolute path of a directory"))
                });
            }
            let new = Holding::new(&name, host, &path);
            if !places.iter().any(|known| (&known.host, &known.path) == (&new.host, &new.path)) {
                places.push(new);
            }
        }
        let looked = self.look_over(&ask, places).await?;
        // A name that was mistyped would be a copy that is gone, from the first day on. What was known before may well be gone now.
        if let Some(typo) = looked.iter().skip(known).find(|place| place.trouble == Some(Trouble::Gone)) {
            let (host, path) = (&typo.host, &typo.path);
            return Err(ApiError {
                hint: Some(format!("write a directory that is there: `csync data add {name} {host}:/DIRECTORY`")),
                ..refuse(ErrorKind::NotFound, format!("`{host}` has no directory {path}"))
            });
        }
        self.kept(looked).await
    }

    /// Looks at the places of datasets again: of those named, or of all.
    ///
    /// # Errors
    /// When there is no dataset of such a name.
    pub async fn scan_datasets(&self, ask: DatasetAsk) -> Result<Vec<Holding>, ApiError> {
        let places = self.of(&ask.names).await?;
        let looked = self.look_over(&ask, places).await?;
        self.kept(looked).await
    }

    /// Forgets datasets, or places of one; their files stay.
    ///
    /// # Errors
    /// When there is no such dataset or place.
    pub async fn forget_datasets(&self, ask: DatasetAsk) -> Result<Vec<Holding>, ApiError> {
        let places = self.of(&ask.names).await?;
        let clean = |path: &str| path.trim_end_matches('/').to_owned();
        let wanted: Vec<_> = ask.places.iter().map(|(host, path)| (host.clone(), clean(path))).collect();
        let is_meant =
            |place: &Holding| wanted.is_empty() || wanted.contains(&(place.host.clone(), place.path.clone()));
        let (gone, _): (Vec<_>, Vec<_>) = places.into_iter().partition(is_meant);
        if gone.is_empty() {
            return Err(refuse(ErrorKind::NotFound, "the dataset has no such place"));
        }
        let fact = |place: &Holding| DataFact::Dropped {
            dataset: place.dataset.clone(),
            place: Some((place.host.clone(), place.path.clone())),
        };
        self.learn(gone.iter().map(fact).collect()).await?;
        Ok(gone)
    }

    /// Returns what a submission needs to know of datasets: those that it names, looked at just now.
    pub(super) async fn catalog(&self, submission: &Submission) -> Result<Catalog, ApiError> {
        let speaks = |text: &str| text.contains("data:");
        if !speaks(&submission.text) && !submission.params.values().any(|value| speaks(value)) {
            return Ok(Catalog::default());
        }
        let known = self.datasets().await?;
        let kept: Vec<String> = known.iter().map(|place| place.dataset.clone()).collect();
        let catalog = named(&submission.text, &submission.params, known);
        let places: Vec<Holding> = catalog.iter().flat_map(|(_, places)| places).cloned().collect();
        let (due, fresh): (Vec<_>, Vec<_>) = places.iter().cloned().partition(is_due);
        if due.is_empty() {
            return Ok(catalog);
        }
        let ask = DataAsk { env: submission.env.clone(), ..DataAsk::default() };
        let (stock, _) = self.stock(&ask).await?;
        if let Some((_, socket)) = submission.env.iter().find(|(name, _)| name == "SSH_AUTH_SOCK") {
            stock.offer_agent(socket);
        }
        let looked = look_at(due, Some(PATIENCE), |host| {
            let stock = std::sync::Arc::clone(&stock);
            async move { stock.way(&host).await }
        });
        let looked = looked.await;
        // Those that the workflow alone names are not kept.
        let kept = looked.iter().filter(|place| kept.contains(&place.dataset)).cloned();
        self.learn(kept.map(DataFact::Holds).collect()).await?;
        let newest = |place: Holding| {
            let same =
                |seen: &&Holding| (&seen.dataset, &seen.host, &seen.path) == (&place.dataset, &place.host, &place.path);
            looked.iter().chain(&fresh).find(same).cloned().unwrap_or(place)
        };
        Ok(Catalog::new(places.into_iter().map(newest)))
    }

    async fn of(&self, names: &[String]) -> Result<Vec<Holding>, ApiError> {
        let all = self.datasets().await?;
        if let Some(unknown) = names.iter().find(|name| !all.iter().any(|place| place.dataset == **name)) {
            return Err(ApiError {
                hint: Some("`csync data list` shows the datasets, `csync data add` names one".to_owned()),
                ..refuse(ErrorKind::NotFound, format!("there is no dataset `{}`", unknown.escape_debug()))
            });
        }
        Ok(all.into_iter().filter(|place| names.is_empty() || names.contains(&place.dataset)).collect())
    }

    async fn look_over(&self, ask: &DatasetAsk, places: Vec<Holding>) -> Result<Vec<Holding>, ApiError> {
        let (stock, _) = self.stock(&asker(ask)).await?;
        let looked = look_at(places, None, |host| {
            let stock = std::sync::Arc::clone(&stock);
            async move { stock.way(&host).await }
        });
        Ok(looked.await)
    }

    async fn kept(&self, looked: Vec<Holding>) -> Result<Vec<Holding>, ApiError> {
        self.learn(looked.iter().cloned().map(DataFact::Holds).collect()).await?;
        Ok(looked)
    }
}

/// Returns who asks.
fn asker(ask: &DatasetAsk) -> DataAsk {
    DataAsk { env: ask.env.clone(), ..DataAsk::default() }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let first = name.chars().next();
    if first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_') && name.chars().all(good) {
        return Ok(());
    }
    Err(ApiError {
        hint: Some("a letter or `_`, then letters, digits, `_` and `-` (A-Z, a-z, 0-9)".to_owned()),
        ..refuse(ErrorKind::Invalid, format!("`{}` is no name for a dataset", name.escape_debug()))
    })
}
