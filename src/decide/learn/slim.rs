//! Observations in few bytes, for who asks for predictions alone: the index of hooks has ten thousand commands.
//!
//! Left out is what no prediction of memory or time looks at: which attempts they were (the order of the ids says which are a sample, so they are
//! numbered in that order), how much those read and wrote, and what time was asked for them. The rest stands in columns, and a column of one value once.

use serde::{Deserialize, Serialize};

use crate::model::observation::{Cut, Observation, Trust};

/// Observations in the order of time, by columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Which place each id has among the ids.
    rank: Vec<u32>,
    /// Minutes since the one before.
    after: Vec<u32>,
    input: Column<f32>,
    memory: Column<f32>,
    wall: Column<f32>,
    cpu: Column<f32>,
    asked: Column<f32>,
    cut: Column<Cut>,
    trust: Column<Trust>,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Column<T> {
    /// All the same.
    Same(T),
    /// One of each.
    Each(Vec<T>),
}

impl<T: Copy + PartialEq> Column<T> {
    pub(super) fn of(kept: &[Observation], value: impl Fn(&Observation) -> T) -> Self {
        let mut values = kept.iter().map(&value);
        match values.next() {
            Some(first) if values.all(|other| other == first) => Self::Same(first),
            _ => Self::Each(kept.iter().map(value).collect()),
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<T> {
        match self {
            Self::Same(value) => Some(*value),
            Self::Each(values) => values.get(at).copied(),
        }
    }
}

impl Columns {
    /// Makes columns of observations in the order of time.
    pub fn of(kept: &[Observation]) -> Self {
        let mut by_id: Vec<usize> = (0..kept.len()).collect();
        by_id.sort_by_key(|at| kept.get(*at).map(|seen| seen.id));
        let mut rank = vec![0; kept.len()];
        for (place, at) in (0..).zip(by_id) {
            if let Some(slot) = rank.get_mut(at) {
                *slot = place;
            }
        }
        let mut before = 0;
        let after = kept.iter().map(|seen| seen.at.saturating_sub(std::mem::replace(&mut before, seen.at)));
        Self {
            rank,
            after: after.collect(),
            input: Column::of(kept, |seen| seen.input),
            memory: Column::of(kept, |seen| seen.memory),
            wall: Column::of(kept, |seen| seen.wall),
            cpu: Column::of(kept, |seen| seen.cpu),
            asked: Column::of(kept, |seen| seen.asked),
            cut: Column::of(kept, |seen| seen.cut),
            trust: Column::of(kept, |seen| seen.trust),
        }
    }

    /// Makes observations of it again; none where it is not whole.
    pub fn observations(&self) -> Option<Vec<Observation>> {
        let mut time = 0_u32;
        let numbered = self.rank.iter().zip(&self.after).enumerate();
        let observation = |(at, (rank, after)): (usize, (&u32, &u32))| {
            time = time.saturating_add(*after);
            Some(Observation {
                id: u64::from(*rank),
                at: time,
                input: self.input.get(at)?,
                memory: self.memory.get(at)?,
                wall: self.wall.get(at)?,
                cpu: self.cpu.get(at)?,
                io: 0.0,
                asked: self.asked.get(at)?,
                asked_time: 0.0,
                cut: self.cut.get(at)?,
                trust: self.trust.get(at)?,
            })
        };
        numbered.map(observation).collect()
    }
}
