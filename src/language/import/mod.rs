//! Others' formats to workflows: batch scripts, command lists, WfFormat.
