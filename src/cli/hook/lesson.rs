//! What a command that an agent ran teaches: how long it took. It is written down sealed, for whoever opens what was learned
//! next. Memory is not known to agents.

use crate::cli::hook::fast::Asked;
use crate::cli::hook::lookup::Lookup;
use crate::decide::advise::work_of;
use crate::language::command::signature;
use crate::language::hook::Event;
use crate::model::observation::{Observation, Trust};
use crate::reach::clock;
use crate::reach::learned::{Extract, Lesson, Place, class_of};

/// Milliseconds below which a command tells nothing that is worth asking a site for.
const SHORTEST: f64 = 10_000.0;

/// Keeps what a command that went well teaches; none where it teaches nothing, or where that cannot be kept. The same call may
/// be told twice: it counts once.
pub(super) fn keep(asked: &Asked, event: &Event, ran: &str) -> Option<()> {
    let took = event.took.filter(|took| *took >= SHORTEST && !event.call.is_empty())?;
    let state = asked.state.as_ref()?;
    let work = work_of(ran, &event.cwd, &Lookup::open(Some(state)))?;
    let place = Place::of(state);
    let extract = Extract::open(&place)?;
    let key = extract.tokens();
    let seen = Observation {
        id: key.token("call", &format!("{}\0{}", event.session, event.call)).0 as u64,
        at: u32::try_from(clock::now().0.max(0) / 60_000_000).unwrap_or(u32::MAX),
        wall: (took / 1000.0) as f32,
        trust: Trust::Low,
        ..Observation::default()
    };
    let signature = signature(&[work.words], &[], key)?;
    // A full disk is not the agent's trouble.
    extract.spool(&place, &Lesson { signature, class: class_of(&work.host, key), seen }).ok()
}
