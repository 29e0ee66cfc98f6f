//! Names that hosts cannot tell of.

use super::*;

#[tokio::test]
async fn what_a_line_end_in_a_name_is_in_the_way_of_says_what_helps() {
    let world = World::new();
    world.write("plain\nfile", b"1");
    world.write("a\ndir/file", b"2");
    world.write("dir/a\nfile", b"3");
    world.write("dir/file", b"4");
    world.bring(&["plain\nfile", "a\ndir", "dir"]).await.unwrap();
    fs::remove_dir_all(&world.here).unwrap();
    fs::create_dir(&world.here).unwrap();
    // A file that is named itself comes; of directories lists are made.
    world.fetch(&["plain\nfile"], u64::MAX).await.unwrap();
    assert_eq!(fs::read(world.here.join("plain\nfile")).unwrap(), b"1");
    for (name, parts) in [
        ("a\ndir", ["`a\\ndir` cannot be staged", "line end in its name", "give it another name in `outputs`"]),
        ("dir", ["`file`", "a name with a line end", "have the task give it another name"]),
    ] {
        let said = world.fetch(&[name], u64::MAX).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains('\n'), "{said}");
        assert!(!world.here.join(name).exists(), "{name}");
    }
}
