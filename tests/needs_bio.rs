//! `workflows/variants.toml` against the same tools run by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::arena::{World, finish};
use crate::workflows::copy_workflows;

const EXAMPLES: &str = "/usr/share/doc/bowtie2/examples";

/// A world whose samples have reads of their own.
fn with_own_reads() -> World {
    let world = World::new();
    copy_workflows(&world);
    let mut sheet = "sample,r1,r2,first,last\n".to_owned();
    for sample in ["a", "b", "c"] {
        for mate in [1, 2] {
            let from = format!("{EXAMPLES}/reads/reads_{mate}.fq.gz");
            world.write(
                format!("reads/{sample}_{mate}.fq.gz"),
                fs::read(from).expect("Debian's bowtie2-examples is installed"),
            );
        }
        let _ = writeln!(sheet, "{sample},reads/{sample}_1.fq.gz,reads/{sample}_2.fq.gz,{}", share_of(sample));
    }
    world.write("samples.csv", sheet);
    world
}

fn share_of(sample: &str) -> &str {
    match sample {
        "a" => "1,3300",
        "b" => "3301,6600",
        _ => "6601,9900",
    }
}

fn tasks_that_ran(world: &World) -> Vec<String> {
    let mut ran: Vec<String> = ["index", "reads", "align", "call", "depth", "merge", "report"]
        .iter()
        .flat_map(|task| world.instances("last", task))
        .filter(|instance| !instance.attempts.is_empty())
        .map(|instance| instance.label)
        .collect();
    ran.sort();
    ran
}

#[test]
fn variants_gives_what_the_tools_give_by_hand() {
    let world = World::new();
    copy_workflows(&world);
    world.csync(&["submit", "variants.toml"]).code(0);
    let script = r#"
        set -euo pipefail
        mkdir hand && cd hand
        zcat "$1/reference/lambda_virus.fa.gz" > genome.fa
        bwa index genome.fa && samtools faidx genome.fa
        first=1
        for sample in a b c; do
          for mate in 1 2; do
            zcat "$1/reads/reads_$mate.fq.gz" | awk -v first=$first 'NR > 4 * (first - 1) && NR <= 4 * (first + 3299)' > ${sample}_$mate.fq
          done
          bwa mem -R "@RG\tID:$sample\tSM:$sample" genome.fa ${sample}_1.fq ${sample}_2.fq | samtools sort -o $sample.bam -
          bcftools mpileup -f genome.fa $sample.bam | bcftools call -mv --ploidy 1 -Oz -o $sample.vcf.gz
          bcftools index $sample.vcf.gz
          first=$((first + 3300))
        done
        bcftools merge a.vcf.gz b.vcf.gz c.vcf.gz -o variants.vcf
    "#;
    finish(&mut world.program("bash", &["-c", script, "by-hand", EXAMPLES])).code(0);
    let records = |path: &str| {
        let text = world.read(path);
        text.lines().filter(|line| !line.starts_with("##")).map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = records("results/variants/variants.vcf");
    assert!(ours.len() > 50, "there are variants to compare: {}", ours.len());
    assert_eq!(ours, records("hand/variants.vcf"));
    assert!(world.read("results/variants/report.txt").contains("in 3 of 3 samples: "));
}

#[test]
fn only_the_branch_of_changed_reads_runs_again() {
    let world = with_own_reads();
    world.csync(&["submit", "variants.toml"]).code(0);
    world.csync(&["submit", "variants.toml"]).code(0);
    assert_eq!(tasks_that_ran(&world), Vec::<String>::new(), "nothing changed");

    // A newer date on the same content changes nothing either.
    touch(&world.work().join("reads/b_1.fq.gz"));
    world.csync(&["submit", "variants.toml"]).code(0);
    assert_eq!(tasks_that_ran(&world), Vec::<String>::new(), "the content is the same");

    // Other reads for sample b: those of the other mate's file, reversed in order of pairs, would not pair; fewer pairs do.
    for mate in [1, 2] {
        let path = format!("reads/b_{mate}.fq.gz");
        let script = r#"zcat "$1" | head -n 24000 | gzip -n > "$1.new" && mv "$1.new" "$1""#;
        finish(&mut world.program("bash", &["-c", script, "fewer", &path])).code(0);
    }
    world.csync(&["submit", "variants.toml"]).code(0);
    let branch = ["align[b]", "call[b]", "depth[b]", "merge", "reads[b]", "report"];
    assert_eq!(labels_by_sample(&tasks_that_ran(&world)), branch);
    assert!(world.read("results/variants/report.txt").contains("in 3 of 3 samples: "));
}

/// Instances of a CSV row are called after the whole row; here the sample says enough.
fn labels_by_sample(labels: &[String]) -> Vec<String> {
    labels
        .iter()
        .map(|label| match label.split_once('[') {
            Some((task, _)) => {
                format!("{task}[{}]", if label.contains("b_1") || label.contains("[b") { "b" } else { label })
            }
            None => label.clone(),
        })
        .collect()
}

fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).expect("the reads are there");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000))
        .expect("a new date");
}
