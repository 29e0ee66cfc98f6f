//! What people commonly give a program of which nothing was learned yet, with where that is from. It decides nothing: how much is
//! asked for says little of what is needed.

use serde_json::{Value, json};

use crate::decide::learn::shipped::{Needs, needs};
use crate::language::command::{Part, TokenKey, commands, signature};

/// Returns what csync ships of the programs of a command; of several the one that is given the most memory.
pub(super) fn commonly(command: &str) -> Option<&'static Needs> {
    // Only names that everybody knows are asked for, whatever the key.
    let read = signature(&commands(command), &[], &TokenKey::new([0; 32]))?;
    let shipped = read.parts.iter().filter_map(Part::known).filter_map(|(program, sub)| needs(program, sub));
    shipped.reduce(|most, other| if other.memory > most.memory { other } else { most })
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
    fn of_several_programs_the_neediest_counts_and_of_others_nothing_is_said() {
        let pipe = commonly("samtools view -b x | samtools sort -").unwrap();
        assert!(pipe.memory >= commonly("samtools view -b x").unwrap().memory, "{pipe:?}");
        for unknown in ["./mine.sh x", "", "$(", "echo samtools"] {
            assert!(commonly(unknown).is_none(), "{unknown}");
        }
    }
}
