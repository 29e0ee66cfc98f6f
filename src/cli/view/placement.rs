//! Why something goes where it goes: the terms of the hosts that were compared.

use std::fmt::Write as _;

use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{about, cut};
use crate::model::api::InstanceView;
use crate::model::choice::{Placement, Span, Terms};
use crate::model::job::State;
use crate::model::units::Bytes;

const TERMS: &[Column] = &[
    Column::Word("HOST"),
    Column::Number("BEHIND OTHERS"),
    Column::Number("QUEUE"),
    Column::Number("TRANSFER"),
    Column::Number("RUN"),
    Column::Number("RISK"),
    Column::Number("TOTAL"),
];

/// Returns why the last attempt of an instance that csync placed went where it went.
pub(in crate::cli) fn of(one: &InstanceView, page: Page) -> String {
    let placed = one
        .attempts
        .iter()
        .rev()
        .find_map(|attempt| Some((attempt, attempt.choice.as_ref().and_then(|choice| choice.placement.as_ref())?)));
    let label = page.paint.bold(cut(&one.label, 200)).to_string();
    let Some((attempt, placement)) = placed else {
        let why = match one.state {
            State::Cached => "it was up to date and did not run",
            _ if !one.attempts.is_empty() => "its workflow says where it runs",
            state if state.is_over() => "it did not run",
            _ => "it was not handed over yet",
        };
        return format!("{label}: csync chose no host; {why}.\n");
    };
    let nth = if attempt.attempt > 1 { format!(", attempt {}", attempt.attempt) } else { String::new() };
    let (host, policy) = (&placement.chosen.host, placement.policy);
    let mut out = if placement.said {
        format!("{label}{nth}: on {host}, as its workflow says, in the partition where it starts soonest.\n")
    } else {
        format!("{label}{nth}: on {host}, by the policy `{policy}`.\n")
    };
    out.push_str(&sheet(placement, page));
    out
}

/// Returns the terms of the chosen host and of the next best, and what was not compared.
pub(in crate::cli) fn sheet(placement: &Placement, page: Page) -> String {
    let mut table = Table::new(page, TERMS);
    for terms in [Some(&placement.chosen), placement.next.as_ref()].into_iter().flatten() {
        table.row(row(terms));
    }
    let mut out = table.print();
    let sources = |terms: &Terms| {
        let parts = [("queue", &terms.wait), ("transfer", &terms.transfer), ("run", &terms.run)];
        let told = parts.into_iter().filter(|(_, span)| span.high > 0.0);
        told.map(|(what, span)| format!("{what} {}", span.source)).collect::<Vec<_>>().join(", ")
    };
    for terms in [Some(&placement.chosen), placement.next.as_ref()].into_iter().flatten() {
        let said = sources(terms);
        if !said.is_empty() {
            let _ = writeln!(out, "{}: {said}.", place(terms));
        }
    }
    if placement.others > 0 {
        let were = if placement.others == 1 {
            "1 more host was".to_owned()
        } else {
            format!("{} more hosts were", placement.others)
        };
        let _ = writeln!(out, "{were} compared.");
    }
    for excluded in &placement.excluded {
        let _ = writeln!(out, "Not on {}: {}.", excluded.host, cut(&excluded.why, 300));
    }
    out
}

/// Returns a host, with the partition there.
fn place(terms: &Terms) -> String {
    terms.partition.as_ref().map_or_else(|| terms.host.to_string(), |partition| format!("{}/{partition}", terms.host))
}

fn row(terms: &Terms) -> Vec<Cell> {
    let moved = if terms.moved > Bytes(0) { format!(" ({})", terms.moved) } else { String::new() };
    vec![
        Cell::new(place(terms)),
        Cell::new(seconds(terms.behind)),
        Cell::new(span(&terms.wait)),
        Cell::new(format!("{}{moved}", span(&terms.transfer))),
        Cell::new(span(&terms.run)),
        Cell::new(seconds(terms.penalty)),
        Cell::new(seconds(terms.total)),
    ]
}

fn span(span: &Span) -> String {
    let middle = seconds(span.middle);
    if span.high <= span.middle * 1.25 + 1.0 && span.low >= span.middle * 0.75 - 1.0 {
        return middle;
    }
    format!("{middle} ({}-{})", seconds(span.low), seconds(span.high))
}

fn seconds(seconds: f64) -> String {
    if seconds < 0.05 {
        "0s".to_owned()
    } else if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else {
        about(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::cli::view::fixtures;
    use crate::model::choice::{Choice, Excluded, Policy};

    fn terms(host: &str, wait: f64, moved: u64) -> Terms {
        let span = |middle: f64, source: &str| Span {
            low: middle * 0.5,
            middle,
            high: middle * 2.0,
            source: source.to_owned(),
        };
        Terms {
            host: host.parse().unwrap(),
            partition: None,
            behind: 0.0,
            wait: span(wait, "from 12 runs"),
            transfer: span(moved as f64 / 1e8, "from 1 measurement"),
            moved: Bytes(moved),
            run: span(600.0, "from 40 runs"),
            penalty: 60.0,
            total: wait + moved as f64 / 1e8 + 660.0,
        }
    }

    #[test]
    fn what_was_not_placed_says_why() {
        let told = |state| {
            let mut one = fixtures::instance("align[A]", state, None);
            one.attempts.clear();
            of(&one, Page { width: Some(100), paint: Paint::new(false) })
        };
        assert_eq!(told(State::Cached), "align[A]: csync chose no host; it was up to date and did not run.\n");
        assert_eq!(told(State::Skipped), "align[A]: csync chose no host; it did not run.\n");
        assert_eq!(told(State::Ready), "align[A]: csync chose no host; it was not handed over yet.\n");
    }

    #[test]
    fn a_choice_is_told_with_its_terms() {
        let mut one = fixtures::instance("align[A]", State::Done, None);
        assert_eq!(
            of(&one, Page { width: Some(100), paint: Paint::new(false) }),
            "align[A]: csync chose no host; its workflow says where it runs.\n"
        );
        let placement = Placement {
            policy: Policy::Fastest,
            said: false,
            chosen: terms("hpc", 30.0, 0),
            next: Some(terms("lab", 0.0, 40_000_000_000)),
            others: 1,
            excluded: vec![Excluded { host: "gate".parse().unwrap(), why: "no GPUs".to_owned() }],
        };
        let mut said = placement.clone();
        one.attempts[0].choice = Some(Choice { placement: Some(placement), ..Choice::default() });
        insta::assert_snapshot!(of(&one, Page { width: Some(100), paint: Paint::new(false) }));
        said.said = true;
        one.attempts[0].choice = Some(Choice { placement: Some(said), ..Choice::default() });
        let told = of(&one, Page { width: Some(100), paint: Paint::new(false) });
        let first = "align[A], attempt 2: on hpc, as its workflow says, in the partition where it starts soonest.";
        assert_eq!(told.lines().next(), Some(first));
    }
}
