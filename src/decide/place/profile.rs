//! What is free on a host over time: a step function, in which room is found and taken.

use crate::decide::place::problem::Room;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    /// From when on.
    at: f64,
    /// What is free then, until the next step.
    free: Room,
}

/// What is free on a host over time. Steps alike are one, so that a host in full use is few steps long.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    steps: Vec<Step>,
}

impl Profile {
    /// Makes the profile of a host that opens at a time and has all its room from then on.
    pub fn new(opens: f64, room: Room) -> Self {
        Self { steps: vec![Step { at: opens, free: room }] }
    }

    /// Returns the earliest time from `ready` on at which `need` is free for `seconds` on end. The host has that much room
    /// when nothing is taken; otherwise the answer is never.
    pub fn earliest(&self, ready: f64, seconds: f64, need: Room) -> f64 {
        let mut at = self.steps.partition_point(|step| step.at <= ready).saturating_sub(1);
        let Some(first) = self.steps.get(at) else { return f64::INFINITY };
        let mut start = ready.max(first.at);
        // The start that is tried, and how far room was seen from it on.
        let mut open = false;
        while let Some(step) = self.steps.get(at) {
            if need.fits(step.free) {
                if !open {
                    open = true;
                    start = start.max(step.at);
                }
                let until = self.steps.get(at + 1).map_or(f64::INFINITY, |next| next.at);
                if until - start >= seconds {
                    return start;
                }
            } else {
                open = false;
            }
            at += 1;
        }
        f64::INFINITY
    }

    /// Takes `need` for `seconds` from `start` on, where [`earliest`](Self::earliest) found it.
    pub fn take(&mut self, start: f64, seconds: f64, need: Room) {
        // What never starts takes nothing.
        if seconds <= 0.0 || !start.is_finite() {
            return;
        }
        let from = self.split(start);
        let to = self.split(start + seconds);
        for step in self.steps.get_mut(from..to).unwrap_or_default() {
            step.free = step.free.less(need);
        }
        self.merge(to);
        self.merge(from);
    }

    /// Makes a step begin at a time, and returns which.
    fn split(&mut self, at: f64) -> usize {
        let next = self.steps.partition_point(|step| step.at < at);
        if self.steps.get(next).is_some_and(|step| step.at <= at) {
            return next;
        }
        let before = next.checked_sub(1).and_then(|before| self.steps.get(before));
        if let Some(free) = before.map(|step| step.free) {
            self.steps.insert(next, Step { at, free });
        }
        next
    }

    /// Makes a step one with that before it where they are alike.
    fn merge(&mut self, at: usize) {
        let before = at.checked_sub(1).and_then(|before| self.steps.get(before));
        if let (Some(before), Some(step)) = (before, self.steps.get(at))
            && before.free == step.free
        {
            self.steps.remove(at);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn room_is_found_in_the_first_gap_that_is_long_and_wide_enough() {
        let mut profile = Profile::new(10.0, Room::cores(2));
        assert_eq!(profile.earliest(0.0, 5.0, Room::cores(2)), 10.0, "not before it opens");
        profile.take(10.0, 5.0, Room::cores(2));
        profile.take(18.0, 5.0, Room::cores(1));
        assert_eq!(profile.earliest(0.0, 3.0, Room::cores(2)), 15.0);
        assert_eq!(profile.earliest(0.0, 4.0, Room::cores(2)), 23.0, "the gap is too short for both cores");
        assert_eq!(profile.earliest(0.0, 4.0, Room::cores(1)), 15.0, "and not for one");
        assert_eq!(profile.earliest(19.5, 1.0, Room::cores(1)), 19.5);
        assert_eq!(profile.earliest(0.0, 1.0, Room::cores(3)), f64::INFINITY);
        profile.take(15.0, 3.0, Room::cores(2));
        profile.take(18.0, 5.0, Room::cores(1));
        assert_eq!(profile.steps.len(), 2, "what is taken on end is one step");
    }

    #[test]
    fn memory_and_gpus_count_like_cores() {
        let all = Room { cores: 8, memory: 100, gpus: 1 };
        let mut profile = Profile::new(0.0, all);
        profile.take(0.0, 10.0, Room { cores: 1, memory: 60, gpus: 0 });
        assert_eq!(profile.earliest(0.0, 1.0, Room { cores: 1, memory: 50, gpus: 0 }), 10.0);
        profile.take(0.0, 20.0, Room { cores: 1, memory: 0, gpus: 1 });
        assert_eq!(profile.earliest(0.0, 1.0, Room { cores: 1, memory: 0, gpus: 1 }), 20.0);
        assert_eq!(profile.earliest(0.0, 1.0, Room::cores(6)), 0.0);
    }
}
