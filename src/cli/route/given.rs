//! What people commonly give a program of which nothing was learned yet, with where that is from. It rules out no host: how much is
//! asked for says little of what is needed.

use serde_json::{Value, json};

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::learn::evidence::Law;
use crate::decide::learn::shipped::{Needs, needs};
use crate::decide::route::need::Need;
use crate::language::command::{Part, TokenKey, commands, signature};

/// Returns what csync ships of the programs of a command; of several the one that is given the most memory.
pub(super) fn commonly(command: &str) -> Option<&'static Needs> {
    // Only names that everybody knows are asked for, whatever the key.
    let read = signature(&commands(command), &[], &TokenKey::new([0; 32]))?;
    let shipped = read.parts.iter().filter_map(Part::known).filter_map(|(program, sub)| needs(program, sub));
    shipped.reduce(|most, other| if other.memory > most.memory { other } else { most })
}

/// Fills in what a command may need by that, as far as nothing else says it.
pub(super) fn presume(given: &Needs, need: &mut Need) {
    let prior = given.prior();
    let bytes: f64 = need.inputs.iter().map(|input| input.bytes).sum();
    let estimate = |law: Law| {
        let middle = law.base + law.per_byte * bytes;
        Estimate { low: middle / law.spread, middle, high: middle * law.spread, source: Source::Prior }
    };
    need.memory = need.memory.or_else(|| prior.memory.map(estimate));
    need.time = need.time.or_else(|| prior.wall.map(estimate));
}

/// Says it, with the options that go by it, as far as nobody gave them.
pub(super) fn sentence(given: &Needs, has_memory: bool, has_time: bool) -> Option<String> {
    let memory = given.memory.filter(|_| !has_memory).map(|memory| ("--mem", memory.to_string()));
    let time = given.time.filter(|_| !has_time).map(|time| ("--time", time.to_string()));
    let amounts: Vec<(&str, String)> = memory.into_iter().chain(time).collect();
    if amounts.is_empty() {
        return None;
    }
    let listed = |each: &dyn Fn(&(&str, String)) -> String, between: &str| {
        amounts.iter().map(each).collect::<Vec<_>>().join(between)
    };
    let program = [Some(given.program.as_str()), given.subcommand.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    Some(format!(
        "Nothing was learned of it yet; `{}` is commonly given {}, which `{}` asks for ({}).",
        program.join(" "),
        listed(&|(_, amount)| amount.clone(), " and "),
        listed(&|(option, amount)| format!("{option} {amount}"), " "),
        given.source.trim_end_matches('.')
    ))
}

/// The same for programs.
pub(super) fn value(given: &Needs) -> Value {
    json!({
        "program": given.program,
        "subcommand": given.subcommand,
        "memory": given.memory,
        "memory_per_input": given.memory_per_input,
        "cores": given.cores,
        "time": given.time,
        "source": given.source,
        "n": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_is_commonly_given_is_said_with_its_source_and_the_options_for_it() {
        let sort = commonly("samtools sort -@ 8 -o out.bam in.bam").unwrap();
        let said = sentence(sort, false, true).unwrap();
        assert!(said.contains("`samtools sort` is commonly given 36G, which `--mem 36G` asks for ("), "{said}");
        assert!(said.contains(sort.source.trim_end_matches('.')), "{said}");
        if let Some(time) = sort.time {
            let both = sentence(sort, false, false).unwrap();
            assert!(both.contains(&format!("`--mem 36G --time {time}`")), "{both}");
        }
        assert_eq!(sentence(sort, true, true), None, "somebody said it");
        assert_eq!(value(sort)["source"], sort.source.as_str());
    }

    #[test]
    fn what_nobody_said_is_presumed_by_it_as_an_interval_that_says_so() {
        let sort = commonly("samtools sort -@ 8 -o out.bam in.bam").unwrap();
        let mut need = Need::default();
        presume(sort, &mut need);
        let memory = need.memory.unwrap();
        assert_eq!((memory.source, memory.high), (Source::Prior, sort.memory.unwrap().0 as f64));
        assert!(memory.low < memory.middle && memory.middle < memory.high, "{memory:?}");
        assert_eq!(need.time.map(|time| time.high), sort.time.map(|time| time.0 as f64));
        let said = Some(Estimate::known(1e9));
        let mut need = Need { memory: said, time: said, ..Need::default() };
        presume(sort, &mut need);
        assert_eq!((need.memory, need.time), (said, said));
    }

    #[test]
    fn of_several_programs_the_neediest_counts_and_of_others_nothing_is_said() {
        let pipe = commonly("samtools view -b x | samtools sort -").unwrap();
        assert!(pipe.memory >= commonly("samtools view -b x").unwrap().memory, "{pipe:?}");
        for unknown in ["./mine.sh x", "", "$(", "echo samtools"] {
            assert!(commonly(unknown).is_none(), "{unknown}");
        }
    }
}
