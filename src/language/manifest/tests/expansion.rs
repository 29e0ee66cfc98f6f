//! Expansion and rendering.

use super::*;

const RNASEQ: &str = r#"
name = "rnaseq"
[params]
ref = "grch38"
[defaults]
retries = 2
[defaults.resources]
time = "auto"
[tasks.align]
foreach = "fastq/*_R1.fastq.gz"
inputs = ["{item}", "ref/{params.ref}.fa"]
outputs = ["bam/{item.stem}.bam"]
run = "STAR --runThreadN {cpus} --limitBAMsortRAM {mem_bytes} {inputs} > {outputs[0]}"
resources = { cpus = 8, mem = "4G" }
[tasks.count]
needs = ["align"]
inputs = ["bam/*.bam"]
outputs = ["counts.tsv"]
run = ["featureCounts", "-T", "{cpus}", "-o", "{outputs}", "{inputs}"]
"#;

#[test]
fn the_example_of_the_format_expands() {
    let world = World::with(&["fastq/a b_R1.fastq.gz", "fastq/c_R1.fastq.gz", "bam/old.bam"]);
    let expanded = world.expand(RNASEQ).unwrap();
    let plan = &expanded.plan;
    assert_eq!(labels(plan), ["align[fastq/a b_R1.fastq.gz]", "align[fastq/c_R1.fastq.gz]", "count"]);
    assert_eq!(dependents(plan, "align[fastq/c_R1.fastq.gz]"), ["count"]);
    assert_eq!(
        command(plan, "align[fastq/a b_R1.fastq.gz]"),
        "STAR --runThreadN 4 --limitBAMsortRAM 8589934592 'fastq/a b_R1.fastq.gz' ref/grch38.fa > 'bam/a b_R1.bam'"
    );
    assert_eq!(
        command(plan, "count"),
        "featureCounts\n-T\n4\n-o\ncounts.tsv\nbam/a b_R1.bam\nbam/c_R1.bam\nbam/old.bam"
    );
    let external: Vec<&str> = expanded.external.iter().map(|&path| plan.path(path)).collect();
    assert_eq!(external, ["fastq/a b_R1.fastq.gz", "ref/grch38.fa", "fastq/c_R1.fastq.gz", "bam/old.bam"]);
    assert_eq!(plan.tasks[0].retry.max, 2);
    assert_eq!(plan.tasks[0].resources[0].mem, crate::model::resources::Amount::Exact(Bytes::gib(4)));
    assert_eq!(plan.tasks[1].needs, [crate::model::id::TaskId(0)]);
}

#[test]
fn a_chain_is_ordered_by_its_files() {
    let expanded = expanded(
        r#"
        [tasks.c]
        inputs = ["./x/../b"]
        outputs = ["c"]
        run = "cat {inputs} > {outputs}"
        [tasks.b]
        inputs = ["/lab/flow/a"]
        outputs = ["b"]
        run = "cat {inputs} > {outputs}"
        [tasks.a]
        outputs = ["a"]
        run = "echo > {outputs}"
        "#,
    );
    assert_eq!(dependents(&expanded.plan, "a"), ["b"]);
    assert_eq!(dependents(&expanded.plan, "b"), ["c"]);
    assert_eq!(dependents(&expanded.plan, "c"), [""; 0]);
}

#[test]
fn a_table_makes_an_instance_per_row() {
    let world = World::default().file("s.csv", "sample,reads\nA,r/a 1.fq\nB,r/b.fq\n").param("out", "res");
    let expanded = world
        .expand(
            r#"
            name = "t"
            [params]
            out = "x"
            [tasks.map]
            foreach = { csv = "s.csv" }
            matrix = { k = [1, 2] }
            inputs = ["{item.reads}"]
            outputs = ["{params.out}/{item.sample}.{matrix.k}"]
            when = "item.sample != 'B' or matrix.k == 1"
            run = "map '{item.reads}' \"{item}\" {item.reads.stem} > {outputs}"
            "#,
        )
        .unwrap();
    assert_eq!(labels(&expanded.plan), ["map[A,k=1]", "map[A,k=2]", "map[B,k=1]", "map[B,k=2]"]);
    assert_eq!(command(&expanded.plan, "map[A,k=2]"), "map 'r/a 1.fq' \"A\" 'a 1' > res/A.2");
    assert_eq!(expanded.left, [InstanceId(3)]);
}

#[test]
fn a_circle_is_named() {
    let mistakes = World::default()
        .expand(
            r#"
            name = "t"
            [tasks.a]
            inputs = ["c"]
            outputs = ["a"]
            run = "true"
            [tasks.b]
            needs = ["a"]
            run = "true"
            [tasks.c]
            needs = ["b"]
            outputs = ["c"]
            run = "true"
            "#,
        )
        .unwrap_err();
    assert_eq!(mistakes[0].message, "tasks wait for each other in a circle: `a` -> `b` -> `c` -> `a`");
}

#[test]
fn a_foreach_glob_goes_over_what_others_make() {
    let text = r#"
        name = "t"
        [tasks.index]
        foreach = "bam/*.bam"
        outputs = ["{item}.bai"]
        run = "index {item}"
        [tasks.map]
        foreach = ["a", "b"]
        outputs = ["bam/{item}.bam"]
        run = "map > {outputs}"
    "#;
    let plan = World::with(&["bam/old.bam", "bam/a.bam"]).expand(text).unwrap().plan;
    assert_eq!(labels(&plan), ["map[a]", "map[b]", "index[bam/a.bam]", "index[bam/b.bam]", "index[bam/old.bam]"]);
    assert_eq!(plan.task(crate::model::id::TaskId(0)).name, "index");
}

#[test]
fn a_task_does_not_go_over_what_it_makes_itself() {
    let text = r#"
        name = "t"
        [tasks.clean]
        foreach = "*.txt"
        outputs = ["{item.stem}.clean.txt"]
        run = "clean {item}"
    "#;
    let plan = World::with(&["a.txt", "b.clean.txt", "b.txt"]).expand(text).unwrap().plan;
    assert_eq!(labels(&plan), ["clean[a.txt]", "clean[b.txt]"]);
}

#[test]
fn patterns_with_values_of_rows_are_looked_up_once_the_rows_are_known() {
    let world = World::with(&["d[1]/x.fq", "d[1]/y.fq", "d1/z.fq"]).file("s.csv", "dir\nd[1]\n");
    let text = r#"
        name = "t"
        [tasks.cat]
        foreach = { csv = "s.csv" }
        inputs = ["{item}/*.fq"]
        run = "cat {inputs}"
    "#;
    let plan = world.expand(text).unwrap().plan;
    assert_eq!(command(&plan, "cat[d[1]]"), "cat 'd[1]/x.fq' 'd[1]/y.fq'");
}

#[test]
fn directories_order_too() {
    let plan = expanded(
        r#"
        [tasks.make]
        outputs = ["idx"]
        run = "make"
        [tasks.inside]
        inputs = ["idx/genome.bwt"]
        outputs = ["out/a", "out/b/c"]
        run = "use"
        [tasks.above]
        inputs = ["out"]
        run = "tar {inputs}"
        "#,
    );
    assert_eq!(dependents(&plan.plan, "make"), ["inside"]);
    assert_eq!(dependents(&plan.plan, "inside"), ["above"]);
    assert_eq!(plan.external, []);
}

/// Expands a matrix and returns its rows as people see them.
fn combinations(keys: &str) -> Vec<String> {
    let plan = expanded(&format!("[tasks.a]\nrun = \"x\"\n{keys}")).plan;
    labels(&plan).iter().map(|label| label[2..label.len() - 1].to_owned()).collect()
}

#[test]
fn a_matrix_is_multiplied_out_the_last_key_fastest() {
    assert_eq!(
        combinations("matrix = { a = [1, 2], b = [\"x\", \"y\"] }"),
        ["a=1,b=x", "a=1,b=y", "a=2,b=x", "a=2,b=y"]
    );
    assert_eq!(combinations("matrix = { a = { range = [0, 10, 5] } }"), ["a=0", "a=5", "a=10"]);
    assert_eq!(
        combinations("foreach = { range = [2, 1, -1] }\nmatrix = { a = [1e-3, true] }"),
        ["2,a=1e-3", "2,a=true", "1,a=1e-3", "1,a=true"]
    );
}

#[test]
fn include_and_exclude_are_those_of_github_actions() {
    // The example of GitHub's documentation.
    let keys = r#"
        matrix = { fruit = ["apple", "pear"], animal = ["cat", "dog"] }
        include = [
            { color = "green" },
            { color = "pink", animal = "cat" },
            { fruit = "apple", shape = "circle" },
            { fruit = "banana" },
            { fruit = "banana", animal = "cat" },
        ]
    "#;
    assert_eq!(
        combinations(keys),
        [
            "fruit=apple,animal=cat,color=pink,shape=circle",
            "fruit=apple,animal=dog,color=green,shape=circle",
            "fruit=pear,animal=cat,color=pink,shape=",
            "fruit=pear,animal=dog,color=green,shape=",
            "fruit=banana,animal=,color=,shape=",
            "fruit=banana,animal=cat,color=,shape=",
        ]
    );
    let keys = "matrix = { a = [1, 2], b = [1, 2] }\nexclude = [{ a = 1, b = 2 }, { b = 1 }]";
    assert_eq!(combinations(keys), ["a=2,b=2"]);
}

#[test]
fn an_instance_that_is_left_out_makes_nothing() {
    let expanded = expanded(
        r#"
        [params]
        quick = true
        [tasks.slow]
        outputs = ["r"]
        run = "x"
        when = "not params.quick"
        [tasks.quick]
        outputs = ["r"]
        run = "x"
        when = "params.quick"
        [tasks.use]
        inputs = ["r"]
        run = "x"
        "#,
    );
    assert_eq!(expanded.left, [InstanceId(0)]);
    assert_eq!(dependents(&expanded.plan, "quick"), ["use"]);
    assert_eq!(dependents(&expanded.plan, "slow"), [""; 0]);
}

#[test]
fn instances_that_read_the_same_share_the_list() {
    let expanded = expanded(
        "[tasks.a]\nforeach = { range = [1, 100] }\noutputs = [\"o/{item}\"]\nrun = \"x\"\n\
         [tasks.b]\nforeach = { range = [1, 100] }\ninputs = [\"o/*\"]\nrun = \"x\"\n",
    );
    let plan = &expanded.plan;
    assert_eq!(plan.dependents.len(), 100 * 100);
    assert_eq!(plan.path_refs.len(), 200);
    assert_eq!(plan.inputs(InstanceId(100)).len(), 100);
}

#[test]
fn a_task_without_instances_holds_nothing_up() {
    let expanded = expanded("[tasks.a]\nforeach = []\nrun = \"x\"\n[tasks.b]\nneeds = [\"a\"]\nrun = \"x\"\n");
    assert_eq!(labels(&expanded.plan), ["b"]);
    assert_eq!(expanded.warnings.len(), 1);
}

#[test]
fn a_pattern_for_what_is_left_out_alone_is_no_mistake() {
    let text = |plots: &str| {
        format!(
            "[params]\nplots = false\n[tasks.plot]\nforeach = [1, 2]\noutputs = [\"p/{{item}}.png\"]\nrun = \"x\"\nwhen = \"{plots}\"\n\
             [tasks.report]\ninputs = [\"p/*.png\"]\nrun = \"x\"\n"
        )
    };
    let inputs = |expanded: &Expanded| -> Vec<String> {
        expanded.plan.inputs(InstanceId(2)).iter().map(|&path| expanded.plan.path(path).to_owned()).collect()
    };
    let none = expanded(&text("params.plots"));
    assert_eq!(inputs(&none), ["p/1.png", "p/2.png"]);
    assert_eq!(none.external.len(), 2);
    let one = expanded(&text("item == 2"));
    assert_eq!(inputs(&one), ["p/2.png"]);
    assert_eq!(one.external, []);
}

#[test]
fn tables_may_have_a_header_with_a_hash_and_windows_line_ends() {
    let world = World::default().file("s.tsv", "\u{feff}#sample\tpath\r\n#1\tx y\r\n\r\nB\t\"q\"\r\n");
    let text = "name = \"t\"\n[tasks.a]\nforeach = { tsv = \"s.tsv\" }\nrun = \"x {item.sample} {item.path}\"\n";
    let plan = world.expand(text).unwrap().plan;
    assert_eq!(command(&plan, "a[#1]"), "x '#1' 'x y'");
    assert_eq!(command(&plan, "a[B]"), "x B q");
    let world = World::default().file("s.txt", "a b\r\n\r\n  \r\nc\n");
    let plan = world
        .expand(&text.replace("{ tsv = \"s.tsv\" }", "{ lines = \"s.txt\" }").replace(".sample} {item.path", ""))
        .unwrap()
        .plan;
    assert_eq!(labels(&plan), ["a[a b]", "a[c]"]);
}
