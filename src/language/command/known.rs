//! The names that stay readable: programs that everybody has, and their subcommands. Each list is sorted.

/// How a known program is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// With options and files.
    Plain,
    /// With one of these subcommands first.
    Subcommands(&'static [&'static str]),
    /// With a script or a module first, which is somebody's own: its name never stays readable.
    Runs,
}

/// Looks a program up by the last part of its path.
pub fn program(name: &str) -> Option<Program> {
    if let Ok(at) = WITH_SUBCOMMANDS.binary_search_by_key(&name, |(program, _)| program) {
        return WITH_SUBCOMMANDS.get(at).map(|(_, subcommands)| Program::Subcommands(subcommands));
    }
    if RUNNERS.binary_search(&name).is_ok() {
        return Some(Program::Runs);
    }
    PLAIN.binary_search(&name).is_ok().then_some(Program::Plain)
}

/// Returns the subcommand of a call, where it is one of the known ones: the first word behind the program that is no option, and no
/// option's number.
pub fn subcommand<'w>(kind: Program, words: &[&'w str]) -> Option<&'w str> {
    let Program::Subcommands(list) = kind else { return None };
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let first = words.iter().skip(1).find(|word| !word.starts_with('-') && !is_number(word))?;
    list.contains(first).then_some(*first)
}

/// Programs that run a script of somebody's own.
#[rustfmt::skip]
const RUNNERS: &[&str] = &[
    "R", "Rscript", "bash", "java", "julia", "matlab", "node", "octave", "perl", "python", "python2", "python3", "sh",
    "torchrun",
];

/// Programs with subcommands.
#[rustfmt::skip]
const WITH_SUBCOMMANDS: &[(&str, &[&str])] = &[
    ("baysor", &["preview", "run", "segfree"]),
    ("bcftools", &[
        "annotate", "call", "concat", "consensus", "filter", "index", "isec", "merge", "mpileup", "norm", "query", "sort",
        "stats", "view",
    ]),
    ("bedtools", &[
        "bamtobed", "closest", "coverage", "genomecov", "getfasta", "intersect", "merge", "multicov", "sort", "subtract",
    ]),
    ("bwa", &["aln", "index", "mem", "sampe", "samse"]),
    ("bwa-mem2", &["index", "mem"]),
    ("cdo", &["mergetime", "remapbil", "remapcon", "seldate", "selvar", "timmean", "yearmean"]),
    ("cellbender", &["remove-background"]),
    ("cellranger", &["aggr", "count", "mkfastq", "mkref", "multi", "reanalyze"]),
    ("diamond", &["blastp", "blastx", "makedb"]),
    ("dorado", &["aligner", "basecaller", "correct", "demux", "duplex"]),
    ("gatk", &[
        "ApplyBQSR", "BaseRecalibrator", "CombineGVCFs", "FilterMutectCalls", "GenomicsDBImport", "GenotypeGVCFs",
        "HaplotypeCaller", "MarkDuplicates", "Mutect2", "SelectVariants", "VariantFiltration",
    ]),
    ("gmx", &["editconf", "energy", "genion", "grompp", "mdrun", "pdb2gmx", "rms", "rmsf", "solvate", "trjconv"]),
    ("kallisto", &["bus", "index", "quant"]),
    ("macs2", &["bdgdiff", "callpeak"]),
    ("macs3", &["callpeak"]),
    ("mmseqs", &["cluster", "createdb", "easy-cluster", "easy-linclust", "easy-search", "linclust", "search"]),
    ("nextflow", &["run"]),
    ("picard", &[
        "AddOrReplaceReadGroups", "CollectAlignmentSummaryMetrics", "CollectInsertSizeMetrics", "CollectMultipleMetrics",
        "CreateSequenceDictionary", "MarkDuplicates", "SortSam",
    ]),
    ("qiime", &["dada2", "demux", "diversity", "feature-classifier", "feature-table", "phylogeny", "taxa", "tools"]),
    ("salmon", &["alevin", "index", "quant"]),
    ("sambamba", &["index", "markdup", "merge", "sort", "view"]),
    ("samtools", &[
        "calmd", "collate", "depth", "faidx", "fasta", "fastq", "fixmate", "flagstat", "idxstats", "index", "markdup",
        "merge", "mpileup", "sort", "stats", "view",
    ]),
    ("seqkit", &["fx2tab", "grep", "rmdup", "sample", "seq", "sort", "split", "split2", "stats"]),
    ("seqtk", &["comp", "mergepe", "sample", "seq", "subseq", "trimfq"]),
];

/// Programs without subcommands.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "STAR", "STARsolo", "abyss-pe", "admixture", "antsApplyTransforms", "antsRegistration", "ashlar", "augustus", "awk",
    "backsub", "bam2fq", "bamCoverage", "bbduk.sh", "bbmap.sh", "bcl2fastq", "bioformats2raw", "bismark", "blastn",
    "blastp", "blastx", "bowtie", "bowtie2", "bowtie2-build", "bracken", "bunzip2", "busco", "bzip2", "canu", "cat",
    "cd-hit", "cd-hit-est", "cellpose", "centrifuge", "cesm.exe", "charmm", "clustalo", "computeMatrix", "cp", "cp2k",
    "cp2k.psmp", "cut", "cutadapt", "dcm2niix", "deepvariant", "delly", "eggnog-mapper", "emapper.py", "fasterq-dump",
    "fastp", "fastq-dump", "fastqc", "featureCounts", "flye", "fmriprep", "freebayes", "g16", "gaussian", "grep",
    "gromacs", "gunzip", "gzip", "hifiasm", "hisat2", "hisat2-build", "hmmscan", "hmmsearch", "htseq-count", "ilastik_cli",
    "iqtree", "iqtree2", "jellyfish", "kraken2", "kraken2-build", "lammps", "lmp", "mafft", "makeblastdb", "manta",
    "md5sum", "megahit", "metabat2", "metaphlan", "minimap2", "mothur", "mrtrix3", "multiqc", "muscle", "namd2", "namd3",
    "ncclimo", "ncks", "nwchem", "orca", "pigz", "pilon", "plink2", "prefetch", "prodigal", "prokka", "psi4", "pw.x",
    "quast", "quast.py", "racon", "raw2ometiff", "raxml-ng", "recon-all", "relion_refine", "rsem-calculate-expression",
    "run_alphafold.py", "run_deepvariant", "sed", "sha256sum", "snakemake", "sort", "spades.py", "spotiflow-predict",
    "strelka", "stringtie", "tar", "tblastn", "tblastx", "trim_galore", "trimmomatic", "uniq", "vasp_std", "vina",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_sorted_and_names_nothing_twice() {
        let programs: Vec<&str> = WITH_SUBCOMMANDS.iter().map(|(program, _)| *program).collect();
        let lists = WITH_SUBCOMMANDS.iter().map(|(_, subcommands)| *subcommands);
        for list in lists.chain([PLAIN, RUNNERS, &programs]) {
            assert!(list.is_sorted_by(|one, next| one < next), "{list:?}");
        }
        let all: Vec<&str> = programs.iter().chain(PLAIN).chain(RUNNERS).copied().collect();
        assert!(all.iter().all(|name| all.iter().filter(|other| *other == name).count() == 1));
        assert!(all.iter().all(|name| program(name).is_some()));
    }
}
