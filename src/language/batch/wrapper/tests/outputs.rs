//! What is there of a member's outputs when it has ended.

use super::*;

#[test]
fn where_an_output_was_to_lie_and_is_gone_explains_a_failure_too() {
    for shell in shells() {
        for (script, code) in [("rm -r new", 0), ("rm -r new; echo >new/out", 2)] {
            let mut lost = member("a", &format!("{script}; exit {code}"));
            lost.outputs = vec!["there".to_owned(), "new/out".to_owned()];
            let submission = Submission::new(&[lost]);
            let (_, ended) = submission.run(&shell);
            let dir = submission.path("work/new").to_str().unwrap().to_owned();
            assert_eq!(ended.gone, Some(dir), "{shell:?}");
            assert_eq!(matches!(ended.how, How::MissingOutputs(_)), code == 0, "{shell:?} {:?}", ended.how);
        }
        let mut lazy = member("a", "true");
        lazy.outputs = vec!["new/out".to_owned()];
        assert_eq!(Submission::new(&[lazy]).run(&shell).1.gone, None, "{shell:?}");
    }
}
