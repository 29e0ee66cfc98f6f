use proptest::prelude::*;

use crate::language::command::read::kind;
use crate::language::command::{Kind, Signature, TokenKey, commands, is_small, signature};

fn key() -> TokenKey {
    TokenKey::new([7; 32])
}

fn read(text: &str, inputs: &[&str]) -> Option<Signature> {
    let commands: Vec<Vec<&str>> = text.split('|').map(|command| command.split_whitespace().collect()).collect();
    signature(&commands, inputs, &key())
}

fn shown(text: &str) -> String {
    read(text, &[]).map_or_else(String::new, |signature| signature.to_string())
}

#[test]
fn known_names_are_readable_and_nothing_else_is() {
    for (text, readable) in [
        ("samtools sort -@ 8 -o out.bam in.bam", "samtools sort"),
        ("bwa mem -t 8 ref.fa a.fq b.fq | samtools view -b -", "bwa mem | samtools view"),
        ("OMP_NUM_THREADS=4 /opt/tools/STAR --genomeDir /ref", "STAR"),
        ("cd work", ""),
        ("time nice samtools index x.bam", "samtools index"),
    ] {
        assert_eq!(shown(text), readable, "{text}");
    }
    for (text, secret) in [
        ("python train_secret.py --lr 0.1", "train_secret"),
        ("./secret_tool --x", "secret_tool"),
        ("samtools secretcmd x", "secretcmd"),
    ] {
        let shown = shown(text);
        assert!(shown.contains("command-") && !shown.contains(secret), "{text}: {shown}");
    }
}

#[test]
fn what_starts_a_program_does_not_matter() {
    let token = |text: &str| signature(&commands(text), &[], &key()).map(|found| found.token(&key()));
    for (plain, all) in [
        (
            "bwa mem -t 8 ref.fa",
            &[
                "nice -n 10 bwa mem -t 8 ref.fa",
                "sudo -u ada bwa mem -t 8 ref.fa",
                "timeout -k 5 1h bwa mem -t 8 ref.fa",
                "env -u X A=1 bwa mem -t 8 ref.fa",
                "A=1 time -f %e bwa mem -t 8 ref.fa",
                "srun -n 1 --mem 8G bwa mem -t 8 ref.fa",
                "/usr/bin/time -v srun --exclusive bwa mem -t 8 ref.fa",
                "apptainer exec --bind /d:/d bwa.sif bwa mem -t 8 ref.fa",
                "docker run --rm -v /d:/d biocontainers/bwa:1 bwa mem -t 8 ref.fa",
                "mpirun -np 4 --map-by core bwa mem -t 8 ref.fa",
                "bash -c 'bwa mem -t 8 ref.fa'",
                "srun bash -lc \"cd x && bwa mem -t 8 ref.fa\"",
                "nohup numactl -N 0 taskset -c 0-3 bwa mem -t 8 ref.fa",
                "timeout --from-the-future bwa mem -t 8 ref.fa",
            ][..],
        ),
        (
            "./solver -x in",
            &["mpiexec -n 16 -x LD_LIBRARY_PATH ./solver -x in", "env OMP_NUM_THREADS=2 ./solver -x other"],
        ),
        ("torchrun --nproc_per_node=4 train.py", &["torchrun --nproc_per_node 8 train.py"]),
    ] {
        assert!(token(plain).is_some(), "{plain}");
        for text in all {
            assert_eq!(token(text), token(plain), "{text}");
        }
    }
    for nothing in ["exec > log", "sudo", "timeout", "env A=1", "cd x && time", "A=1"] {
        assert_eq!(token(nothing), None, "{nothing}");
    }
    assert!(is_small(&["cd", "x"]) && is_small(&[]) && !is_small(&["bwa"]));
}

#[test]
fn values_do_not_matter_and_options_do() {
    let token = |text: &str| read(text, &["a.bam"]).expect("it is a command").token(&key());
    let sort = token("samtools sort -@ 8 -o out.bam in.bam");
    assert_eq!(sort, token("/usr/bin/samtools sort -o other.bam -@ 2 x.bam"));
    assert_ne!(sort, token("samtools sort -n -o out.bam in.bam"));
    assert_ne!(sort, token("samtools view -@ 8 -o out.bam in.bam"));
    assert_eq!(token("x -pSECRET"), token("x -pOTHER"));
    assert_eq!(token("x --password=SECRET"), token("x --password=OTHER"));
    let other = TokenKey::new([8; 32]);
    assert_ne!(sort, read("samtools sort -@ 8 -o out.bam in.bam", &["a.bam"]).expect("it is one").token(&other));
}

#[test]
fn likes_share_programs_whatever_their_options_and_inputs() {
    let likes = |text: &str, inputs: &[&str]| read(text, inputs).expect("it is a command").likes(&key());
    assert_eq!(likes("samtools sort -n x", &["a.bam"]), likes("samtools sort -@ 8 y", &["a.cram", "b.fa"]));
    assert_ne!(likes("samtools sort x", &[]), likes("samtools view x", &[]));
}

#[test]
fn inputs_count_by_kind_and_power_of_two() {
    let inputs = |names: &[&str]| read("cat x", names).expect("it is a command").inputs;
    assert_eq!(inputs(&["a.fastq.gz", "b.fq", "ref.fa"]), [(Kind::Reads, 1), (Kind::Sequence, 0)]);
    assert_eq!(inputs(&["1.csv"; 5]), [(Kind::Table, 2)]);
    for (name, is) in
        [("x.tar.gz", Kind::Archive), ("x", Kind::Other), (".gz", Kind::Other), ("a/b.c/d.NII.GZ", Kind::Image)]
    {
        assert_eq!(kind(name), is, "{name}");
    }
}

#[test]
fn a_script_is_split_into_simple_commands() {
    let script = "# a comment\nset -euo pipefail\nOUT='my out'; bwa mem -t 8 \\\n  ref.fa \"$A b\" | samtools sort -o x.bam - > log 2>&1 && echo done";
    let read: Vec<String> = commands(script).iter().map(|words| words.join(" ")).collect();
    let expected =
        ["set -euo pipefail", "OUT=my out", "bwa mem -t 8 ref.fa $A b", "samtools sort -o x.bam - 2", "echo done"];
    assert_eq!(read, expected);
    let words = commands(script);
    let shown = signature(&words, &[], &key()).expect("there are commands").to_string();
    assert_eq!(shown, "bwa mem | samtools sort");
    for odd in ["", "'", "\\", "a '", "<", "> > >", "|||", "# only"] {
        commands(odd);
    }
}

proptest! {
    #[test]
    fn any_words_are_read(commands in prop::collection::vec(prop::collection::vec(".{0,12}", 0..8), 0..5)) {
        if let Some(signature) = signature(&commands, &[], &key()) {
            prop_assert!(!signature.parts.is_empty());
        }
    }

    #[test]
    fn no_word_shows_that_is_not_on_the_list(words in prop::collection::vec("[a-z]{6,12}(zq|qz)", 1..6)) {
        if let Some(signature) = signature(std::slice::from_ref(&words), &[], &key()) {
            let held = postcard::to_stdvec(&signature).expect("a signature can be written");
            for word in &words {
                prop_assert!(!held.windows(word.len()).any(|window| window == word.as_bytes()));
            }
        }
    }
}
