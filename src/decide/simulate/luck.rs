//! Chance: what differs between what is believed and what comes.

/// Random numbers that follow from a seed (splitmix64; Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from zero to below one.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a whole number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// Returns a number of the normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.share(), self.share());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Returns a factor around one: `exp` of a normal number this wide.
    pub fn factor(&mut self, width: f64) -> f64 {
        (width * self.normal()).exp()
    }

    /// Returns a time until the next of events that come this often on average.
    pub fn pause(&mut self, mean: f64) -> f64 {
        -(1.0 - self.share()).ln() * mean
    }
}

/// How much chance there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// How far run times are from what is believed: the width of the logarithm.
    pub runs: f64,
    /// How far waits are, likewise.
    pub waits: f64,
    /// What part of attempts fails half-way on average, and runs again.
    pub fails: f64,
}

/// How many attempts a task has.
const ATTEMPTS: u32 = 3;

/// What comes, task by task.
#[derive(Clone, Debug, PartialEq)]
pub struct Luck {
    /// Seconds that each task holds a host of speed one, with the attempts that failed.
    pub seconds: Vec<f64>,
    /// How many times as long as told each task waits in a queue.
    pub waits: Vec<f64>,
    /// Attempts that failed.
    pub failed: u32,
}

impl Luck {
    /// Draws what comes of tasks that are believed to run so long.
    pub fn draw(believed: &[f64], chance: Chance, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut luck = Self { seconds: Vec::new(), waits: Vec::new(), failed: 0 };
        for seconds in believed {
            let whole = seconds * dice.factor(chance.runs);
            let mut held = whole;
            for _ in 1..ATTEMPTS {
                if dice.share() >= chance.fails {
                    break;
                }
                held += whole * dice.share();
                luck.failed += 1;
            }
            luck.seconds.push(held);
            luck.waits.push(dice.factor(chance.waits));
        }
        luck
    }
}
