//! In which amounts a site grants memory, and what it charges for: a request is rounded to what costs no more.

/// One mebibyte: what batch systems count memory in.
pub const MEBIBYTE: f64 = 1_048_576.0;
/// What part of a node's memory a job may have, where the whole node is its own: the rest is the system's.
const OF_A_NODE: f64 = 0.875;

/// In which amounts memory is granted to a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grain {
    /// It is counted in multiples of so many bytes; 0 means any amount.
    unit: f64,
    /// The memory of one core, and of all that a job asks for: what is beyond those is charged as further cores.
    of_core: Option<(f64, f64)>,
    /// The job has a node to itself, with so much memory: less costs nothing less.
    node: Option<f64>,
}

impl Grain {
    /// Takes a site that counts in multiples of so many bytes; 0 means any amount.
    pub const fn multiples(unit: f64) -> Self {
        Self { unit, of_core: None, node: None }
    }

    /// Takes one where each core of a job may have so many bytes.
    #[must_use]
    pub fn per_core(self, bytes: f64, cores: u32) -> Self {
        let of_core = (bytes > 0.0).then(|| (bytes, bytes * f64::from(cores.max(1))));
        Self { of_core, ..self }
    }

    /// Takes one where a job has a whole node, of which the smallest has so many bytes.
    #[must_use]
    pub fn whole_node(self, bytes: f64) -> Self {
        let usable = bytes * OF_A_NODE;
        let usable = if self.unit > 0.0 { (usable / self.unit).floor() * self.unit } else { usable };
        Self { node: (usable > 0.0).then_some(usable), ..self }
    }

    /// Returns what is asked for where so much is needed: the most that costs no more.
    pub fn granted(&self, value: f64) -> f64 {
        if let Some(node) = self.node.filter(|node| value <= *node) {
            return node;
        }
        match self.of_core {
            Some((one, all)) if value > all => self.counted((value / one).ceil() * one),
            _ => self.counted(value),
        }
    }

    /// Returns what is asked for where so much is needed and so much more is safer: no more than a whole node for that.
    pub fn with_margin(&self, value: f64, margin: f64) -> f64 {
        let granted = self.granted(value);
        if self.node == Some(granted) { granted } else { self.granted(value + margin) }
    }

    /// Rounds up what is asked for to an eighth of its power of two, so that jobs of an array ask for the same; no more than a whole
    /// node for that.
    pub fn rounded(&self, value: f64, coarse: impl Fn(f64, f64) -> f64) -> f64 {
        let granted = self.granted(value);
        if self.node == Some(granted) { granted } else { self.granted(coarse(granted, self.unit.max(1.0))) }
    }

    fn counted(&self, value: f64) -> f64 {
        if self.unit > 0.0 { (value / self.unit).ceil() * self.unit } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = 1024.0 * MEBIBYTE;

    #[test]
    fn what_costs_no_more_is_asked_for() {
        let plain = Grain::multiples(MEBIBYTE);
        // Three cores with four gibibytes each; a node of 64; both.
        let cores = plain.per_core(4.0 * GIB, 3);
        let node = plain.whole_node(64.0 * GIB);
        let slots = Grain::multiples(8.0 * MEBIBYTE);
        for (grain, needed, wanted) in [
            (Grain::default(), 1.5, 1.5),
            (plain, 1.0, MEBIBYTE),
            (plain, 3.0 * GIB, 3.0 * GIB),
            (slots, 9.0 * MEBIBYTE, 16.0 * MEBIBYTE),
            // Within what its cores have there is nothing to gain by more.
            (cores, 5.0 * GIB, 5.0 * GIB),
            (cores, 12.0 * GIB, 12.0 * GIB),
            (cores, 12.5 * GIB, 16.0 * GIB),
            (cores, 16.5 * GIB, 20.0 * GIB),
            (node, 1.0 * GIB, 56.0 * GIB),
            (node, 56.0 * GIB, 56.0 * GIB),
            (node, 57.0 * GIB, 57.0 * GIB),
            (node.per_core(4.0 * GIB, 3), 13.0 * GIB, 56.0 * GIB),
            (plain.per_core(0.0, 3), 5.0 * GIB, 5.0 * GIB),
            (plain.whole_node(0.0), 5.0 * GIB, 5.0 * GIB),
        ] {
            assert!((grain.granted(needed) - wanted).abs() < 1.0, "{grain:?} {needed}: {}", grain.granted(needed));
        }
        assert!((node.with_margin(55.9 * GIB, GIB) - 56.0 * GIB).abs() < 1.0);
        assert!((plain.with_margin(2.0 * GIB, GIB) - 3.0 * GIB).abs() < 1.0);
        let eighth = |value: f64, unit: f64| (value * 1.125 / unit).ceil() * unit;
        assert!((node.rounded(55.0 * GIB, eighth) - 56.0 * GIB).abs() < 1.0);
        assert!((cores.rounded(12.0 * GIB, eighth) - 16.0 * GIB).abs() < 1.0);
        assert!((plain.rounded(8.0 * GIB, eighth) - 9.0 * GIB).abs() < 1.0);
    }

    proptest::proptest! {
        #[test]
        fn what_is_granted_is_enough_and_stays_what_it_is(needed in 1.0..1e12f64, core in 0.0..1e10f64, cores in 0u32..64, node in 0.0..1e12f64) {
            let grain = Grain::multiples(MEBIBYTE).per_core(core, cores).whole_node(node);
            let granted = grain.granted(needed);
            proptest::prop_assert!(granted >= needed, "{grain:?} {granted}");
            proptest::prop_assert!((grain.granted(granted) - granted).abs() < 1e-6 * granted + MEBIBYTE * 2.0 + core, "{grain:?} {granted}");
        }
    }
}
