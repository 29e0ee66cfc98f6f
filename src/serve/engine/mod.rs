//! The engine's loop: wait for news, hand them to the core ([`decide::engine`](crate::decide::engine)), write what it wants
//! remembered in one transaction, then do what it asks for.
//!
//! One task, the runner, owns the core, the store and the connection to the worker. Everybody else has a [`Handle`] and sends it
//! messages: requests of people, and looks at the state, which are closures that run between two turns.
//!
//! | file | what it holds |
//! |---|---|
//! | `runner` | the loop, the commit, the actions |
//! | `care` | what the runner keeps of a run beside the core |
//! | `admit` | submissions and runs from the store |
//! | `link` | the connection to the worker, adoption of what it has |
//! | `learner` | what attempts taught, written beside all that |
//! | `keeper` | what every day asks of what was learned |
//! | `left` | what an engine before this one did not come to learn from |
//! | `adviser` | what coding agents' hooks look up, kept fresh beside all that |
//! | `done` | commands that ran without the engine, kept as runs |
//! | `starts` | when clusters would start a job, by their own word |
//! | `check` | up-to-date checks while a run goes |
//! | `watch` | who follows a run |
//! | `data`, `datasets` | files on hosts, at a person's word |
//! | `handle`, `views`, `why`, `logs`, `clean` | what the API asks |

mod admit;
mod adviser;
mod again;
mod brought;
mod care;
mod check;
mod clean;
mod commit;
mod copies;
mod data;
mod datasets;
mod done;
mod handle;
mod hosts;
mod keeper;
mod learner;
mod left;
mod link;
mod logs;
mod open;
mod refusal;
mod runner;
mod settings;
mod sites;
mod starts;
mod timers;
mod views;
mod watch;
mod why;

pub use handle::{Answering, Busy, Handle, InstanceQuery};
pub use logs::{LogQuery, LogReader};
pub use refusal::{refuse, storage};
pub use runner::{Left, Runner};
pub use settings::{BadSetting, Settings};
pub use watch::Watch;
