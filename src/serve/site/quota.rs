//! How many jobs of ours a batch system takes at once: what is known of its limits, and what its refusals teach.

use std::time::Duration;

use tokio::time::Instant;

/// After how long a limit that was met is tried again, at first, and how often that is doubled at most: other people's jobs end,
/// and limits are raised.
const AGAIN: Duration = Duration::from_secs(15);
const DOUBLED: u32 = 5;

/// How many jobs of ours may be there.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    most: u32,
    /// What it last took, or was not seen to refuse; none while it refused nothing.
    learned: Option<u32>,
    /// Refusals in a row of a single job more.
    walls: u32,
    until: Instant,
    /// Most members of one array, where one was refused as too large since the limits were looked up.
    array: Option<u32>,
}

impl Quota {
    pub(super) fn new(most: u32) -> Self {
        Self { most, learned: None, walls: 0, until: Instant::now(), array: None }
    }

    /// Takes in how many are allowed by what is known beforehand.
    pub(super) const fn set_most(&mut self, most: u32) {
        self.most = most;
        self.array = None;
    }

    /// Takes in that an array of so many members was refused as too large: half of it is next.
    pub(super) fn too_large(&mut self, members: u32) {
        self.array = Some(self.array().min(members / 2).max(1));
    }

    /// Returns how many members an array may have, as far as refusals taught it.
    pub(super) fn array(&self) -> u32 {
        self.array.unwrap_or(u32::MAX)
    }

    /// Returns how many more may be tried now, where `ours` are there.
    pub(super) fn allows(&self, ours: u32, now: Instant) -> u32 {
        let most = match self.learned {
            None => self.most,
            Some(learned) if now < self.until => learned,
            // A little more than it was seen to take.
            Some(learned) => learned.max(ours).saturating_add((learned / 8).max(1)),
        };
        most.min(self.most).saturating_sub(ours)
    }

    /// Takes in that so many more were refused as too many: half of them are next, and at the limit itself it is waited.
    pub(super) fn refused(&mut self, ours: u32, tried: u32, now: Instant) {
        if tried <= 1 {
            self.walls += 1;
        }
        self.learned = Some(ours.saturating_add(tried / 2));
        self.until = now + self.pause();
    }

    /// Takes in that some were accepted, so that `ours` are there.
    pub(super) fn accepted(&mut self, ours: u32, now: Instant) {
        let Some(learned) = self.learned else { return };
        if ours > learned {
            self.walls = 0;
        }
        self.learned = Some(learned.max(ours)).filter(|learned| *learned < self.most);
        self.until = now + self.pause();
    }

    /// Returns what was learned, and when more is tried.
    pub(super) fn learned(&self) -> Option<(u32, Instant)> {
        self.learned.map(|learned| (learned, self.until))
    }

    fn pause(&self) -> Duration {
        AGAIN * (1 << self.walls.saturating_sub(1).min(DOUBLED))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A site that takes so many jobs and says nothing about it: submits until everything is taken or nothing more is allowed,
    /// and returns what is there, after how many refusals.
    fn fill(quota: &mut Quota, limit: u32, mut ours: u32, mut waiting: u32, now: Instant) -> (u32, u32) {
        let mut refusals = 0;
        while waiting > 0 {
            let tried = quota.allows(ours, now).min(waiting);
            if tried == 0 {
                break;
            }
            if ours + tried > limit {
                quota.refused(ours, tried, now);
                refusals += 1;
            } else {
                ours += tried;
                waiting -= tried;
                quota.accepted(ours, now);
            }
        }
        (ours, refusals)
    }

    #[test]
    fn an_array_that_is_too_large_is_halved_until_limits_are_looked_up_again() {
        let mut quota = Quota::new(2000);
        assert_eq!(quota.array(), u32::MAX);
        let mut sizes = Vec::new();
        // Two that were on their way together are refused one after the other.
        for members in [25, 25, 12, 6, 3, 1, 1] {
            quota.too_large(members);
            sizes.push(quota.array());
        }
        assert_eq!(sizes, [12, 12, 6, 3, 1, 1, 1]);
        quota.set_most(2000);
        assert_eq!(quota.array(), u32::MAX);
    }

    #[test]
    fn a_limit_is_found_in_few_refusals_and_kept() {
        let now = Instant::now();
        let mut quota = Quota::new(2000);
        let (ours, refusals) = fill(&mut quota, 137, 0, 5000, now);
        assert!((100..=137).contains(&ours), "{ours}");
        assert!(refusals <= 11, "{refusals}");
        // As jobs end, as many take their place, without asking for more.
        let (again, refusals) = fill(&mut quota, 137, ours - 20, 5000, now);
        assert_eq!((again, refusals), (ours, 0));
    }

    #[test]
    fn a_limit_that_was_raised_is_noticed_after_a_while() {
        let mut now = Instant::now();
        let mut quota = Quota::new(2000);
        let (mut ours, _) = fill(&mut quota, 10, 0, 5000, now);
        assert!(ours <= 10);
        for _ in 0..200 {
            now += AGAIN * 40;
            ours = fill(&mut quota, 5000, ours, 5000, now).0;
        }
        assert_eq!((ours, quota.learned()), (2000, None));
    }

    #[test]
    fn a_full_site_is_asked_less_and_less_often() {
        let mut now = Instant::now();
        let start = now;
        let mut quota = Quota::new(100);
        let mut asked = 0;
        while now < start + Duration::from_hours(1) {
            if quota.allows(0, now) > 0 {
                quota.refused(0, quota.allows(0, now), now);
                asked += 1;
            }
            now += Duration::from_secs(1);
        }
        assert!((5..40).contains(&asked), "{asked}");
    }

    proptest! {
        #[test]
        fn never_more_than_is_allowed_beforehand(most in 1u32..3000, limit in 0u32..4000, waiting in 0u32..4000) {
            let now = Instant::now();
            let mut quota = Quota::new(most);
            let (ours, refusals) = fill(&mut quota, limit, 0, waiting, now);
            prop_assert!(ours <= most.min(limit) && ours <= waiting);
            prop_assert!(refusals <= 14);
            // Half of what would be taken is taken at once; a tick later the rest is tried.
            prop_assert!(ours * 2 + 1 >= most.min(limit).min(waiting));
        }
    }
}
