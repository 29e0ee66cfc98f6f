//! Questions to the person who started a command: one-time codes, passwords, passphrases. One at a time; answers are not kept.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// What a host asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// Which host.
    pub host: String,
    /// What it says about them.
    pub instructions: String,
    /// The questions, each with whether the answer may be seen.
    pub prompts: Vec<(String, Seen)>,
}

/// Whether an answer may be seen while it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It may.
    Shown,
    /// It is a secret.
    Hidden,
}

type Answer = dyn Fn(Questions) -> BoxFuture<'static, Option<Vec<String>>> + Send + Sync;

/// Who answers questions. Whoever shares it is asked one after the other.
#[derive(Clone)]
pub struct Ask {
    answer: Arc<Answer>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").finish_non_exhaustive()
    }
}

impl Ask {
    /// Makes somebody who answers by this function; `None` is a person who will not.
    pub fn new(answer: impl Fn(Questions) -> BoxFuture<'static, Option<Vec<String>>> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), turn: Arc::default() }
    }

    /// Waits until nobody is being asked; nobody else is until this is dropped.
    pub(in crate::reach::transport) async fn turn(&self) -> Turn<'_> {
        Turn { ask: self, _held: self.turn.lock().await }
    }

    /// Asks, once nobody else is being asked.
    pub(super) async fn ask(&self, questions: Questions) -> Option<Vec<String>> {
        self.turn().await.ask(questions).await
    }
}

/// The turn to ask somebody: nobody else asks until it is dropped.
pub(in crate::reach::transport) struct Turn<'a> {
    ask: &'a Ask,
    _held: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// Asks. What is being asked is taken back when the future is dropped.
    pub(in crate::reach::transport) async fn ask(&self, questions: Questions) -> Option<Vec<String>> {
        let expected = questions.prompts.len();
        let answers = (self.ask.answer)(questions).await?;
        (answers.len() == expected).then_some(answers)
    }
}
