//! How many threads and processes a command says that it uses, by the options of its program.

use crate::decide::learn::options::Options;
use crate::decide::learn::shipped::{Needs, needs};
use crate::language::command::{Launch, known, launches};

/// Returns how many cores a simple command makes use of as it says itself: threads of its program, and how often `mpirun` or `srun` start
/// it. None where it says nothing of either.
pub fn threads(words: &[&str]) -> Option<u32> {
    let of = |launch: Launch| {
        let words: Vec<&str> = launch.words.iter().map(String::as_str).collect();
        let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        let kind = known::program(program);
        let shipped = kind.and_then(|kind| needs(program, known::subcommand(kind, &words)));
        let own = shipped.map_or(Options::default(), Needs::options).count(&words);
        let each = own.or(launch.cores_each);
        each.or(launch.processes).map(|_| each.unwrap_or(1).saturating_mul(launch.processes.unwrap_or(1)))
    };
    launches(words).into_iter().filter_map(of).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_says_it_in_its_own_way() {
        for (line, wanted) in [
            ("bwa mem -t 8 ref.fa r1.fq r2.fq", Some(8)),
            ("bwa mem -t8 ref.fa r1.fq", Some(8)),
            ("bwa index -t 8 ref.fa", None),
            ("/opt/bwa/bwa mem -t 2 -t 6 ref.fa r1.fq", Some(6)),
            ("bwa mem -t", None),
            ("bwa mem -t 0 ref.fa", None),
            ("bwa mem -t many ref.fa", None),
            ("samtools sort -@ 8 in.bam", Some(9)),
            ("samtools sort -@8 in.bam", Some(9)),
            ("samtools sort --threads=3 in.bam", Some(4)),
            ("samtools sort -t 8 in.bam", None),
            ("samtools index -@ 3 in.bam", Some(4)),
            ("bcftools view --threads 4 x.vcf", Some(5)),
            ("STAR --runThreadN 8 --genomeDir g", Some(8)),
            ("bowtie2 -p 4 -x i -U r.fq", Some(4)),
            ("hisat2 -p 4 -x i", Some(4)),
            ("blastn -num_threads 16 -query q.fa", Some(16)),
            ("fastp -w 6 -i a.fq", Some(6)),
            ("fastp --thread=6 -i a.fq", Some(6)),
            ("minimap2 -t 12 ref.fa r.fq", Some(12)),
            ("featureCounts -T 5 -t exon -a g.gtf x.bam", Some(5)),
            ("gmx mdrun -nt 16 -ntmpi 4", Some(16)),
            ("gmx mdrun -ntmpi 4 -ntomp 2", Some(8)),
            ("gmx mdrun -ntomp 6", Some(6)),
            ("gmx grompp -nt 4", Some(4)),
            ("bismark --multicore 4 -p 2 genome", Some(8)),
            ("canu maxThreads=12 -d out", Some(12)),
            ("admixture -j4 x.bed 3", Some(4)),
            ("bamCoverage -p max -b x.bam", None),
            ("iqtree -nt AUTO -s x.phy", None),
            ("trimmomatic PE -threads 3 a b", Some(3)),
            ("hmmsearch --cpu 3 x.hmm y.fa", Some(4)),
            ("samtools -@ 8 sort", Some(9)),
            ("bracken -t 10 -d db", None),
            ("./mine.py --threads 7", Some(7)),
            ("./mine.py -t 7", None),
            ("prog -nt 7", Some(7)),
            ("fastqc x.fq", None),
            ("", None),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(threads(&words), wanted, "{line}");
        }
    }

    #[test]
    fn what_starts_it_says_how_many() {
        for (line, wanted) in [
            ("mpirun -np 4 ./solver", Some(4)),
            ("mpiexec -n 4 --bind-to core ./solver -n 100", Some(4)),
            ("orterun --np 2 -x A ./solver", Some(2)),
            ("mpirun ./solver -np 4", None),
            ("mpirun -np 4 gmx mdrun -ntomp 2", Some(8)),
            ("srun -n 4 ./solver", Some(4)),
            ("srun -n4 ./solver", Some(4)),
            ("srun --ntasks=4 --cpus-per-task 2 ./solver", Some(8)),
            ("srun -c 8 ./solver", Some(8)),
            ("srun -c 8 bwa mem -t 6 r.fa", Some(6)),
            ("srun ./solver -n 4", None),
            ("srun -n 2 env A=1 mpirun -np 3 ./solver", Some(6)),
            ("nice -n 10 bwa mem -t 3 r.fa", Some(3)),
            ("env A=1 timeout 1h bwa mem -t 3 r.fa", Some(3)),
            ("srun -n 1 bwa mem r.fa", Some(1)),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(threads(&words), wanted, "{line}");
        }
        assert_eq!(threads(&["bash", "-c", "bwa mem -t 3 r.fa | samtools sort -@ 4 -"]), Some(5));
    }
}
