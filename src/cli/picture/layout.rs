//! Where the boxes of a terminal picture stand: layers from top to bottom, an order within each that crosses few arrows,
//! and columns that make most arrows straight.

use crate::cli::picture::Dag;

/// Columns between two boxes.
const GAP: usize = 2;

/// Rounds of ordering and of moving; pictures that fit a terminal settle in fewer.
const ROUNDS: usize = 12;

/// A box, or the line of an arrow that passes a layer.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The node; none for a passing line.
    pub(super) node: Option<usize>,
    /// Columns taken.
    pub(super) width: usize,
    /// Leftmost column.
    pub(super) left: usize,
    /// Slots of the next layer that it leads to.
    pub(super) down: Vec<usize>,
    up: Vec<usize>,
}

impl Slot {
    fn new(node: Option<usize>, width: usize) -> Self {
        Self { node, width, left: 0, down: Vec::new(), up: Vec::new() }
    }

    /// Returns the column where arrows arrive and leave.
    pub(super) fn center(&self) -> usize {
        self.left + self.half()
    }

    fn half(&self) -> usize {
        self.width.saturating_sub(1) / 2
    }
}

/// A picture laid out.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// All slots.
    pub(super) slots: Vec<Slot>,
    /// Slots of each layer, from left to right.
    pub(super) layers: Vec<Vec<usize>>,
    /// Columns in all.
    pub(super) width: usize,
}

/// Lays out a picture whose boxes have these widths.
pub(super) fn layout(dag: &Dag, widths: &[usize]) -> Layout {
    let mut layout = place(dag, widths);
    layout.order();
    layout.settle();
    layout
}

/// Makes the slots: one per node, and per node with arrows over several layers one in each layer between.
fn place(dag: &Dag, widths: &[usize]) -> Layout {
    let layers = dag.layers();
    let depth = layers.iter().max().map_or(0, |deepest| deepest + 1);
    let mut layout = Layout { slots: Vec::new(), layers: vec![Vec::new(); depth], width: 0 };
    for (node, &width) in widths.iter().enumerate() {
        layout.add(Slot::new(Some(node), width), layers.get(node).copied().unwrap_or(0));
    }
    for (node, mut waiters) in dag.after().into_iter().enumerate() {
        let layer_of = |node: usize| layers.get(node).copied().unwrap_or(0);
        waiters.sort_by_key(|&waiter| layer_of(waiter));
        let (mut at, mut layer) = (node, layer_of(node));
        for waiter in waiters {
            while layer + 1 < layer_of(waiter) {
                layer += 1;
                let passing = layout.add(Slot::new(None, 1), layer);
                layout.link(at, passing);
                at = passing;
            }
            layout.link(at, waiter);
        }
    }
    layout
}

impl Layout {
    fn add(&mut self, slot: Slot, layer: usize) -> usize {
        let id = self.slots.len();
        self.slots.push(slot);
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.push(id);
        }
        id
    }

    fn link(&mut self, from: usize, to: usize) {
        if let Some(slot) = self.slots.get_mut(from) {
            slot.down.push(to);
        }
        if let Some(slot) = self.slots.get_mut(to) {
            slot.up.push(from);
        }
    }

    /// Orders every layer by the middle of its neighbors, down and up in turn, and keeps the order that crosses least.
    fn order(&mut self) {
        let mut rank = vec![0.0f64; self.slots.len()];
        let mut best = (self.crossings(), self.layers.clone());
        for round in 0..ROUNDS {
            let downward = round % 2 == 0;
            let indices: Vec<usize> =
                if downward { (0..self.layers.len()).collect() } else { (0..self.layers.len()).rev().collect() };
            for index in indices {
                let Some(layer) = self.layers.get(index) else { continue };
                let mut keyed: Vec<(f64, usize)> = layer
                    .iter()
                    .enumerate()
                    .map(|(position, &slot)| (self.middle(slot, downward, &rank).unwrap_or(position as f64), slot))
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (position, (_, slot)) in keyed.iter().enumerate() {
                    if let Some(rank) = rank.get_mut(*slot) {
                        *rank = position as f64;
                    }
                }
                if let Some(layer) = self.layers.get_mut(index) {
                    *layer = keyed.into_iter().map(|(_, slot)| slot).collect();
                }
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    fn middle(&self, slot: usize, downward: bool, of: &[f64]) -> Option<f64> {
        let slot = self.slots.get(slot)?;
        let neighbors = if downward { &slot.up } else { &slot.down };
        let sum: f64 = neighbors.iter().filter_map(|&neighbor| of.get(neighbor)).sum();
        (!neighbors.is_empty()).then(|| sum / neighbors.len() as f64)
    }

    fn crossings(&self) -> usize {
        let mut position = vec![0usize; self.slots.len()];
        for layer in &self.layers {
            for (index, &slot) in layer.iter().enumerate() {
                if let Some(position) = position.get_mut(slot) {
                    *position = index;
                }
            }
        }
        let at = |slot: usize| position.get(slot).copied().unwrap_or(0);
        let mut crossings = 0;
        for layer in &self.layers {
            let arrows: Vec<(usize, usize)> = layer
                .iter()
                .flat_map(|&slot| self.slots.get(slot).map_or(&[][..], |s| &s.down).iter().map(move |&to| (slot, to)))
                .map(|(from, to)| (at(from), at(to)))
                .collect();
            for (index, a) in arrows.iter().enumerate() {
                let rest = arrows.get(index + 1..).unwrap_or_default();
                crossings += rest.iter().filter(|b| (a.0 < b.0 && a.1 > b.1) || (a.0 > b.0 && a.1 < b.1)).count();
            }
        }
        crossings
    }

    /// Moves the slots of every layer as near to their neighbors as the order and the gaps allow.
    fn settle(&mut self) {
        let mut centers = vec![0.0f64; self.slots.len()];
        for layer in &self.layers {
            let mut left = 0.0;
            for &slot in layer {
                if let (Some(center), Some(slot)) = (centers.get_mut(slot), self.slots.get(slot)) {
                    *center = left + slot.half() as f64;
                    left += (slot.width + GAP) as f64;
                }
            }
        }
        for round in 0..ROUNDS {
            let downward = round % 2 == 0;
            let depth = self.layers.len();
            for step in 0..depth {
                let index = if downward { step } else { depth - 1 - step };
                let Some(layer) = self.layers.get(index) else { continue };
                let wishes: Vec<f64> = layer
                    .iter()
                    .map(|&slot| {
                        let here = centers.get(slot).copied().unwrap_or(0.0);
                        self.middle(slot, downward, &centers).unwrap_or(here)
                    })
                    .collect();
                for (&slot, center) in layer.iter().zip(self.spread(layer, &wishes)) {
                    if let Some(slot) = centers.get_mut(slot) {
                        *slot = center;
                    }
                }
            }
        }
        self.fix(&centers);
    }

    /// Returns the centers nearest to the wishes that keep the order and the gaps: least squares, by pooling neighbors
    /// that push each other.
    fn spread(&self, layer: &[usize], wishes: &[f64]) -> Vec<f64> {
        let mut offsets = Vec::with_capacity(layer.len());
        let mut offset = 0.0;
        let mut last: Option<&Slot> = None;
        for slot in layer.iter().filter_map(|&slot| self.slots.get(slot)) {
            if let Some(last) = last {
                offset += (last.width - last.half() + GAP + slot.half()) as f64;
            }
            offsets.push(offset);
            last = Some(slot);
        }
        let mut pools: Vec<(f64, usize)> = Vec::new();
        for (wish, offset) in wishes.iter().zip(&offsets) {
            pools.push((wish - offset, 1));
            while let [.., (a, n), (b, m)] = pools.as_slice()
                && a > b
            {
                let joined = ((a * *n as f64 + b * *m as f64) / (n + m) as f64, n + m);
                pools.truncate(pools.len() - 2);
                pools.push(joined);
            }
        }
        let bases = pools.iter().flat_map(|&(base, count)| std::iter::repeat_n(base, count));
        bases.zip(offsets).map(|(base, offset)| base + offset).collect()
    }

    /// Rounds to columns.
    fn fix(&mut self, centers: &[f64]) {
        let lefts = self.slots.iter().zip(centers).map(|(slot, center)| center.round() as i64 - slot.half() as i64);
        let first = lefts.clone().min().unwrap_or(0);
        let lefts: Vec<i64> = lefts.collect();
        for layer in &self.layers {
            let mut free = 0;
            for &id in layer {
                let (Some(slot), Some(left)) = (self.slots.get_mut(id), lefts.get(id)) else { continue };
                slot.left = usize::try_from(left - first).unwrap_or(0).max(free);
                free = slot.left + slot.width + GAP;
            }
        }
        self.width = self.slots.iter().map(|slot| slot.left + slot.width).max().unwrap_or(0);
    }
}
