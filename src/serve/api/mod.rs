//! The HTTP API on the engine's Unix socket. Its shapes are [`model::api`](crate::model::api).
//!
//! ```text
//! GET  /v1/engine                     EngineInfo
//! POST /v1/engine/stop                StopEngine -> EngineInfo
//! GET  /v1/runs                       ?limit= ?state=            [RunSummary], newest first
//! POST /v1/runs                       Submission -> Submitted
//! GET  /v1/runs/{run}                 RunDetail                  {run} is a number or `last`, here and below
//! GET  /v1/runs/{run}/instances       ?state= ?task= ?label= ?offset= ?limit=   InstancePage
//! GET  /v1/runs/{run}/progress        Progress, a line whenever something changed, until the run is over
//! GET  /v1/runs/{run}/wait            RunSummary, once it is over
//! GET  /v1/runs/{run}/plan            RunPlan
//! GET  /v1/runs/{run}/why             ?label=                    [Why]
//! GET  /v1/runs/{run}/logs            ?instance= ?attempt= ?stream= ?follow= ?tail= (lines)   bytes
//! POST /v1/runs/{run}/cancel      Selection -> Affected
//! POST /v1/runs/{run}/retry       RetryAsk -> Affected
//! POST /v1/clean                      Clean -> Cleaned
//! GET  /v1/hosts                      [HostReport]: what probes found
//! POST /v1/hosts                      HostReport -> HostReport, with what was known before where this one found nothing
//! POST /v1/waits                      QueueReport: how long jobs waited there that csync did not submit
//! POST /v1/waits/forget               QueueForget: forgets that again -> how many jobs
//! ```
//!
//! Every refusal is an [`ApiError`](crate::model::api::ApiError) with a status that fits. This router is for the socket, whose
//! peers are this user alone; it is never served to anybody else.

mod door;
mod extract;
mod routes;
mod stream;

pub use door::Door;
pub use routes::router;
