//! The third beat's first half: what happened is written, however long the disk refuses.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::reach::clock;
use crate::reach::store::StoreError;
use crate::serve::engine::handle::Message;
use crate::serve::engine::refusal::{chain, storage};
use crate::serve::engine::runner::{Left, Runner};

/// First and longest pause before a batch that could not be written is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

impl Runner {
    /// Third beat, first half: writes everything, however long the disk refuses. Nothing that depends on it is done before.
    pub(super) async fn commit(&mut self) -> Result<(), Left> {
        if let Err(error) = self.store.write(&self.batch).await {
            self.ride_out(error).await?;
        }
        self.adviser.tell(&self.state, self.batch.facts());
        let has_lessons = self.batch.has_untaught();
        self.batch.clear();
        if has_lessons {
            self.next_lessons();
        }
        Ok(())
    }

    /// Tries a batch again and again. Meanwhile the state is shown and nothing else is done: jobs that run go on, and their
    /// endings wait with the worker.
    async fn ride_out(&mut self, mut error: StoreError) -> Result<(), Left> {
        let since = clock::now();
        let (mut pause, longest) = PAUSE;
        loop {
            if !error.may_pass() {
                tracing::error!(error = chain(&error), "the store cannot be used any more");
                return Err(Left::Storage(error));
            }
            tracing::warn!(error = chain(&error), "what happened cannot be stored; nothing is started until it can");
            self.trouble = Some(format!("storage trouble since {since}: {}", chain(&error)));
            self.ring_all();
            let again = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = sleep_until(again) => break,
                    Some(message) = self.inbox.recv() => self.obey_in_trouble(message, &error),
                }
                if self.leaving {
                    return Err(Left::Told);
                }
            }
            match self.store.write(&self.batch).await {
                Ok(()) => break,
                Err(newer) => error = newer,
            }
            pause = (pause * 2).min(longest);
        }
        tracing::info!("what happened is stored again");
        self.trouble = None;
        self.ring_all();
        Ok(())
    }

    /// Has everybody who follows a run look again.
    pub(super) fn ring_all(&mut self) {
        for care in self.cares.values_mut() {
            care.ring(true);
        }
    }

    fn obey_in_trouble(&mut self, message: Message, error: &StoreError) {
        let refusal = || storage(error);
        // Each fails when who asked has gone.
        match message {
            Message::Look(look) => look(self),
            Message::Admit(_, reply) | Message::Done(_, reply) => drop(reply.send(Err(refusal()))),
            Message::Restore(loaded, reply) => drop(reply.send(self.restore(*loaded))),
            Message::Cancel(_, _, reply) | Message::Retry(_, _, reply) => drop(reply.send(Err(refusal()))),
            Message::Forget(_, reply)
            | Message::KeepProbed(_, reply)
            | Message::KeepNodes(_, reply)
            | Message::KeepWaits(_, reply) => {
                drop(reply.send(Err(refusal())));
            }
            Message::ForgetWaits(_, reply) => drop(reply.send(Err(refusal()))),
            Message::Stop { now, reply } => {
                let answer = self.stop(now);
                drop(reply.send(answer));
            }
            Message::Leave => self.leaving = true,
        }
    }
}
