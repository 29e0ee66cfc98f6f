//! From what was learned of a command to what it should ask for.

use crate::decide::advise::facts::Learned;
use crate::decide::learn::evidence::Evidence;
use crate::decide::learn::hosts::Factor;
use crate::decide::learn::profile::{Prediction, Profile, Question, Source};
use crate::decide::learn::stakes::Caution;
use crate::model::units::{Bytes, Walltime};

/// What is asked for is a multiple of these: nobody types other numbers.
const GRAIN: (u64, f64) = (128 << 20, 60.0);

/// Below this use of a core more than the whole ones, another one is not worth asking for.
const IDLE: f64 = 0.3;

/// Says what a command will need for an input of some size, by the first of the profiles that knows; they come best first.
pub fn need(known: impl Iterator<Item = (Profile, Source)>, input: f64) -> Option<Learned> {
    let mut need = Learned::default();
    for (profile, source) in known {
        let evidence = match source {
            Source::Learned => Evidence { own: Some(&profile), ..Evidence::default() },
            Source::OtherHosts => Evidence { others: vec![(&profile, Factor::UNKNOWN)], ..Evidence::default() },
            Source::Similar | Source::Shipped => Evidence { similar: vec![&profile], ..Evidence::default() },
        };
        // Of an input whose size nobody knows, the largest so far is assumed.
        let largest = profile.summary().kept().map(|(seen, _)| f64::from(seen.input)).fold(0.0, f64::max);
        let input = if input > 0.0 { input } else { largest };
        let question = |grain| Question { input, grain, caution: Caution::Balanced };
        let memory = evidence.memory(question(GRAIN.0 as f64)).filter(|_| need.memory.is_none());
        let time = evidence.time_limit(question(GRAIN.1)).filter(|_| need.walltime.is_none());
        if need.source.is_empty()
            && let Some(first) = memory.or(time)
        {
            need.source = source_of(&first);
        }
        need.memory = need.memory.or_else(|| memory.map(|found| Bytes(upwards(found.request, GRAIN.0 as f64) as u64)));
        need.walltime = need.walltime.or_else(|| time.map(|found| Walltime(upwards(found.request, GRAIN.1) as u64)));
        need.cores = need.cores.or_else(|| cores(&profile));
        if need.memory.is_some() && need.walltime.is_some() {
            break;
        }
    }
    (need.memory.is_some() || need.walltime.is_some()).then_some(need)
}

fn upwards(value: f64, grain: f64) -> f64 {
    (value / grain).ceil() * grain
}

fn source_of(found: &Prediction) -> String {
    let runs = if found.n == 1 { "1 run".to_owned() } else { format!("{} runs", found.n) };
    match found.source {
        Source::Learned => runs,
        Source::OtherHosts => format!("{runs} on other hosts"),
        Source::Similar | Source::Shipped => format!("{runs} of commands like it"),
    }
}

/// Returns how many cores a command makes use of: the middle of what was seen.
fn cores(profile: &Profile) -> Option<u32> {
    let kept = profile.summary().kept().filter(|(seen, _)| seen.wall >= 1.0 && seen.cpu > 0.0);
    let mut used: Vec<f64> = kept.map(|(seen, _)| f64::from(seen.cpu / seen.wall)).collect();
    used.sort_unstable_by(f64::total_cmp);
    let middle = used.get(used.len() / 2)?;
    Some((middle - IDLE).ceil().max(1.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observation::{Cut, Observation, Trust};

    fn profile(attempts: u64, gib: f32, cpu: f32) -> Profile {
        let mut profile = Profile::default();
        for id in 0..attempts {
            let seen = Observation {
                id: id + 1,
                at: id as u32,
                input: 1e6,
                memory: gib * (1_u64 << 30) as f32,
                wall: 600.0,
                cpu,
                io: 0.0,
                asked: 0.0,
                asked_time: 0.0,
                cut: Cut::Nothing,
                trust: Trust::Full,
            };
            profile.observe(1, seen);
        }
        profile
    }

    fn of(known: Vec<(Profile, Source)>) -> Option<Learned> {
        need(known.into_iter(), 0.0)
    }

    #[test]
    fn the_first_that_knows_says_what_is_needed() {
        let own =
            of(vec![(profile(6, 3.0, 2400.0), Source::Learned), (profile(9, 50.0, 1.0), Source::Similar)]).unwrap();
        assert_eq!((own.cores, own.source.as_str()), (Some(4), "6 runs"));
        let memory = own.memory.unwrap().0;
        assert!((3 << 30..6 << 30).contains(&memory) && memory.is_multiple_of(GRAIN.0), "{memory}");
        let time = own.walltime.unwrap().0;
        assert!((600..=3600).contains(&time) && time.is_multiple_of(60), "{time}");
        let thin =
            of(vec![(profile(1, 3.0, 1.0), Source::Learned), (profile(9, 5.0, 1.0), Source::OtherHosts)]).unwrap();
        assert_eq!((thin.source.as_str(), thin.cores), ("9 runs on other hosts", Some(1)));
        let like = of(vec![(profile(4, 3.0, 1.0), Source::Similar)]).unwrap();
        assert!(like.memory > own.memory.min(like.memory) || like.memory >= own.memory, "{like:?}");
        assert_eq!(like.source, "4 runs of commands like it");
        assert_eq!((of(vec![]), of(vec![(profile(1, 3.0, 1.0), Source::Learned)])), (None, None));
    }
}
