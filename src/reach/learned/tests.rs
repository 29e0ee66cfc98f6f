use std::path::Path;

use crate::decide::learn::profile::Question;
use crate::language::command::{Signature, Token, TokenKey, signature};
use crate::model::observation::{Cut, Observation};
use crate::model::units::Timestamp;
use crate::reach::advice;
use crate::reach::index::{Index, IndexError, IndexWriter};
use crate::reach::learned::{
    Entry, Extract, Learned, LearnedError, Lesson, MOST_KIN, Place, Stamp, class_of, protect, take_in,
};

const DAY: i64 = 86_400_000_000;
const NOW: Timestamp = Timestamp(20_000 * DAY);

fn place(dir: &Path) -> Place {
    Place { path: dir.join("learned.db"), key: dir.join("learned.key"), network: false }
}

fn read(words: &str, inputs: &[&str], key: &TokenKey) -> Signature {
    signature(&[words.split_whitespace().collect::<Vec<_>>()], inputs, key).expect("it is a command")
}

fn lesson(words: &str, inputs: &[&str], host: &str, n: u64, key: &TokenKey) -> Lesson {
    let id = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let seen = Observation { id, at: n as u32, input: 1e9, memory: 2e9, wall: 60.0, ..Observation::default() };
    Lesson { signature: read(words, inputs, key), class: key.token("host", host), seen }
}

async fn open(dir: &Path) -> Learned {
    Learned::open(&place(dir), None, NOW).await.expect("the store opens")
}

#[tokio::test]
async fn what_was_learned_is_there_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let lessons: Vec<_> = (0..10).map(|n| lesson("samtools sort -@ 8", &["a.bam"], "alpha", n, &key)).collect();
    assert_eq!(learned.learn(lessons.clone(), NOW).await.expect("it is written"), 10);
    assert_eq!(learned.learn(lessons, NOW).await.expect("it is written"), 0, "known attempts count once");
    learned.close().await;

    let mut learned = open(dir.path()).await;
    let sort = read("samtools sort -@ 2", &["b.bam"], &key);
    let entry = learned.get(&sort, key.token("host", "alpha")).await.expect("it is read").expect("it is there");
    assert_eq!(entry.signature.to_string(), "samtools sort");
    let found = entry.profile.memory(Question::plain(1e9)).expect("enough was seen");
    assert!((2e9..2.2e9).contains(&found.request), "{found:?}");
    assert_eq!(learned.get(&sort, key.token("host", "beta")).await.expect("it is read"), None);
    assert_eq!(learned.likes(&read("samtools sort -n", &[], &key)).await.expect("it is read").len(), 1);
    assert_eq!(learned.forget(|_, entry| entry.signature == sort).await.expect("it is written"), 1);
    assert_eq!(learned.all().await.expect("it is read"), []);
}

#[tokio::test]
async fn what_time_was_asked_for_is_kept_and_goes_to_other_machines() {
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let mut learned = open(here.path()).await;
    let key = learned.tokens().clone();
    let asked = |n: u64| {
        let of = lesson("bwa mem", &[], "alpha", n, &key);
        let cut = if n == 8 { Cut::Time } else { Cut::Nothing };
        Lesson { seen: Observation { asked_time: 600.0, cut, ..of.seen }, ..of }
    };
    learned.learn((0..10).map(asked).collect(), NOW).await.expect("it is written");
    let file = here.path().join("out");
    learned.export(&file).await.expect("it is written");
    let bwa = read("bwa mem", &[], &key);
    let told = |entry: Entry| {
        let profile = entry.profile;
        (
            profile.unused_time().map(|part| (100.0 * part).round() as u32),
            profile.held_time().of,
            profile.summary().killed(),
        )
    };
    let entry = learned.get(&bwa, key.token("host", "alpha")).await.expect("it is read").expect("it is there");
    assert_eq!(told(entry), (Some(90), 6, 1));
    std::fs::copy(place(here.path()).key, place(there.path()).key).expect("the key goes along");
    let mut other = open(there.path()).await;
    let mut input = std::fs::File::open(&file).expect("it is there");
    let records = other.open_exchange(&file, &mut input).expect("it is whole");
    assert_eq!(other.take(records, NOW).await.expect("it is written"), 10);
    let entry = other.get(&bwa, key.token("host", "alpha")).await.expect("it is read").expect("it is there");
    assert_eq!(told(entry), (Some(90), 6, 1));
}

#[tokio::test]
async fn many_classes_are_looked_up_as_one_by_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let mut lessons = Vec::new();
    for host in 0..20 {
        for words in ["samtools sort -@ 8", "samtools sort -n", "bwa mem"] {
            lessons.extend((host % 3 > 0).then(|| lesson(words, &[], &format!("host{host}"), host, &key)));
        }
    }
    learned.learn(lessons, NOW).await.expect("it is written");
    let classes: Vec<_> = (0..20).map(|host| key.token("host", &format!("host{host}"))).collect();
    for words in ["samtools sort -@ 2", "samtools sort -n", "bwa mem", "bwa index"] {
        let wanted = read(words, &[], &key);
        let mut alone = Vec::new();
        for class in &classes {
            alone.extend(learned.get(&wanted, *class).await.expect("it is read"));
        }
        let mut together = learned.get_on(&wanted, &classes).await.expect("it is read");
        assert_eq!(alone.len(), if words == "bwa index" { 0 } else { 13 }, "{words}");
        for found in [&mut alone, &mut together] {
            found.sort_by_key(|entry| entry.class.0);
        }
        assert_eq!(alone, together, "{words}");
    }
}

/// Searches every byte of every file for what a day's work was full of.
#[tokio::test]
async fn no_planted_secret_is_in_any_byte() {
    const PLANTED: [&str; 9] = [
        "plantedproject",
        "plantedpassword",
        "plantedscript",
        "plantedhost",
        "planteduser",
        "plantedvalue",
        "plantedtool",
        "plantedsub",
        "plantedflag",
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let commands = [
        "API_TOKEN=plantedvalue /users/planteduser/plantedtool --plantedflag=plantedvalue -pplantedpassword /data/plantedproject/x.bam",
        "python /users/planteduser/plantedscript.py --password plantedpassword",
        "samtools plantedsub -o /data/plantedproject/plantedvalue.bam",
        "samtools sort -T /scratch/planteduser -o plantedvalue.bam plantedproject.bam",
    ];
    let inputs = ["/data/plantedproject/plantedvalue.bam", "/users/planteduser/plantedscript.py"];
    let mut lessons = Vec::new();
    for n in 0..200 {
        lessons.push(lesson(commands[n as usize % commands.len()], &inputs, "plantedhost.example.org", n, &key));
    }
    learned.learn(lessons, NOW).await.expect("it is written");
    let all = learned.all().await.expect("it is read");
    let shown: Vec<String> = all.iter().map(|entry| format!("{entry:?}{}", entry.signature)).collect();
    let shown = shown.concat();
    let mut searched = vec![("what is shown".to_owned(), shown.into_bytes())];
    let files = || std::fs::read_dir(dir.path()).expect("it is there").map(|file| file.expect("it is read").path());
    // With its log, before and after that is brought in.
    searched.extend(files().map(|path| (path.display().to_string(), std::fs::read(path).expect("it is read"))));
    learned.close().await;
    searched.extend(files().map(|path| (path.display().to_string(), std::fs::read(path).expect("it is read"))));
    assert!(searched.iter().any(|(name, bytes)| name.ends_with("learned.db") && bytes.len() > 4096));
    for (name, bytes) in &searched {
        let lower = bytes.to_ascii_lowercase();
        for secret in PLANTED {
            let hidden = !lower.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(hidden, "{secret} is in {name}");
        }
        // Sealed from the first byte: not even what may be shown is readable in the file.
        let readable = lower.windows(8).any(|window| window == b"samtools");
        assert_eq!(readable, name == "what is shown", "{name}");
    }
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_said() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    open(ours.path()).await.close().await;
    open(theirs.path()).await.close().await;
    std::fs::copy(theirs.path().join("learned.db"), ours.path().join("learned.db")).expect("it is copied");
    let error = Learned::open(&place(ours.path()), None, NOW).await.expect_err("another's store");
    assert!(matches!(error, LearnedError::WrongKey { .. }), "{error}");
    std::fs::remove_file(ours.path().join("learned.key")).expect("it was there");
    let error = Learned::open(&place(ours.path()), None, NOW).await.expect_err("no key");
    assert!(matches!(error, LearnedError::KeyLost { .. }), "{error}");
}

#[tokio::test]
async fn damaged_and_foreign_files_are_said_and_damaged_records_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let lessons = vec![lesson("samtools sort", &[], "a", 1, &key), lesson("samtools index", &[], "a", 2, &key)];
    learned.learn(lessons, NOW).await.expect("it is written");
    sqlx::query("UPDATE records SET sealed = zeroblob(100) WHERE token = (SELECT min(token) FROM records)")
        .execute(learned.conn())
        .await
        .expect("it is written");
    assert_eq!((learned.all().await.expect("it is read").len(), learned.unreadable()), (1, 1));
    learned.close().await;
    std::fs::write(dir.path().join("learned.db"), b"something else that is long enough to be looked at")
        .expect("written");
    let error = Learned::open(&place(dir.path()), None, NOW).await.expect_err("it is no database");
    assert!(matches!(error, LearnedError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn keys_change_by_the_day_and_old_records_are_sealed_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    learned.learn(vec![lesson("samtools sort", &[], "a", 1, &key)], NOW).await.expect("it is written");
    for days in 1..4 {
        learned.care(Timestamp(NOW.0 + days * DAY), 180).await.expect("it is written");
        let (keys, used): (i64, i64) = sqlx::query_as("SELECT max(id), (SELECT min(key) FROM records) FROM keys")
            .fetch_one(learned.conn())
            .await
            .expect("read");
        assert_eq!((keys, used), (1 + days, 1 + days));
        let (count,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM keys").fetch_one(learned.conn()).await.expect("read");
        assert_eq!(count, 1, "keys without records are dropped");
    }
    assert_eq!(learned.all().await.expect("it is read").len(), 1);
    learned.care(Timestamp(NOW.0 + 181 * DAY), 180).await.expect("it is written");
    assert_eq!(learned.all().await.expect("it is read").len(), 0, "nothing was added for longer than the retention");
}

/// Copies the files as a process leaves them that is killed at this moment.
fn killed(from: &Path, to: &Path, log: Option<u64>) {
    for name in ["learned.db", "learned.db-wal", "learned.key"] {
        let bytes = std::fs::read(from.join(name)).expect("it is there");
        let kept = log.filter(|_| name == "learned.db-wal").map_or(bytes.len(), |most| bytes.len().min(most as usize));
        std::fs::write(to.join(name), &bytes[..kept]).expect("it is copied");
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(to.join("learned.key"), private).expect("it is ours");
}

#[tokio::test]
async fn what_was_learned_survives_a_process_that_is_killed_and_a_log_cut_short() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let mut logs = Vec::new();
    for n in 0..8 {
        learned.learn(vec![lesson("samtools sort", &[], "a", n, &key)], NOW).await.expect("it is written");
        let log = std::fs::metadata(dir.path().join("learned.db-wal")).expect("there is a log").len();
        logs.push(log);
        let copy = tempfile::tempdir().expect("a directory");
        killed(dir.path(), copy.path(), None);
        let all = open(copy.path()).await.all().await.expect("it is read");
        assert_eq!(
            all.first().map(|entry| entry.profile.summary().count()),
            Some(n as u32 + 1),
            "all that was said to be"
        );
    }
    // Cut anywhere, the log gives back what was whole in it.
    let end = *logs.last().expect("there are some");
    for cut in (0..12).map(|part| end * part / 12) {
        let copy = tempfile::tempdir().expect("a directory");
        killed(dir.path(), copy.path(), Some(cut));
        let whole = logs.iter().filter(|log| **log <= cut).count();
        match Learned::open(&place(copy.path()), None, NOW).await {
            Ok(mut store) => {
                let all = store.all().await.expect("it is read");
                let count = all.first().map_or(0, |entry| entry.profile.summary().count());
                assert!(count as usize >= whole, "{count} of {whole} at {cut}");
            }
            Err(error) => assert_eq!(whole, 0, "{error} at {cut}"),
        }
    }
}

#[tokio::test]
async fn a_passphrase_protects_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path()).await.close().await;
    let place = place(dir.path());
    protect(&place.key, None, Some("correct horse")).expect("it is written");
    let error = Learned::open(&place, None, NOW).await.expect_err("no passphrase");
    assert!(matches!(error, LearnedError::Passphrase { .. }), "{error}");
    let error = Learned::open(&place, Some("wrong"), NOW).await.expect_err("a wrong one");
    assert!(error.to_string().contains("passphrase is wrong"), "{error}");
    Learned::open(&place, Some("correct horse"), NOW).await.expect("the right one").close().await;
    protect(&place.key, Some("correct horse"), None).expect("it is written");
    Learned::open(&place, None, NOW).await.expect("none is needed").close().await;
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path()).await.close().await;
    let place = place(dir.path());
    std::fs::set_permissions(&place.key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let error = Learned::open(&place, None, NOW).await.expect_err("it is readable");
    assert!(error.to_string().contains("others can read it"), "{error}");
}

#[tokio::test]
async fn two_stores_of_one_key_merge_in_any_order() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut a = open(ours.path()).await;
    std::fs::copy(ours.path().join("learned.key"), theirs.path().join("learned.key")).expect("it is copied");
    let mut b = open(theirs.path()).await;
    let key = a.tokens().clone();
    a.learn((0..5).map(|n| lesson("samtools sort", &[], "x", n, &key)).collect(), NOW).await.expect("it is written");
    b.learn((3..9).map(|n| lesson("samtools sort", &[], "x", n, &key)).collect(), NOW).await.expect("it is written");
    let (from_a, from_b) = (a.all().await.expect("it is read"), b.all().await.expect("it is read"));
    a.merge(from_b.clone(), &[], NOW).await.expect("it is written");
    b.merge(from_a, &[], NOW).await.expect("it is written");
    a.merge(from_b, &[], NOW).await.expect("it is written");
    let (at_a, at_b) = (a.all().await.expect("it is read"), b.all().await.expect("it is read"));
    assert_eq!(at_a, at_b);
    assert_eq!(at_a.first().map(|entry| entry.profile.summary().kept().count()), Some(9));
}

#[tokio::test]
async fn what_others_saw_is_taken_in_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = place(dir.path());
    let mut learned = open(dir.path()).await;
    let extract = Extract::open(&place).expect("the store made its key");
    let key = extract.tokens().clone();
    let file = dir.path().join("learned.spool");
    let write = |numbers: std::ops::Range<u64>| {
        for n in numbers {
            extract.spool(&place, &lesson("plantedtool --x", &[], "alpha", n, &key)).expect("it is written");
        }
    };
    write(0..3);
    let kept = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, [&kept[..], b"not hex\n", &kept[..], &kept[..kept.len() / 2]].concat())
        .expect("it is damaged");
    assert_eq!(
        take_in(&mut learned, &place, NOW).await.expect("it is taken in"),
        3,
        "known ones and damage count for nothing"
    );
    assert!(!file.exists() && !dir.path().join("learned.spool.taken").exists());
    assert_eq!(take_in(&mut learned, &place, NOW).await.expect("nothing is there"), 0);
    // What was under way when a process ended is not lost.
    write(3..5);
    std::fs::rename(&file, dir.path().join("learned.spool.taken")).expect("it is taken");
    write(5..6);
    assert_eq!(take_in(&mut learned, &place, NOW).await.expect("it is taken in"), 3);
    for n in 0..40_000_u64 {
        if std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 1 << 20) {
            break;
        }
        write(n..n + 1);
    }
    assert!(std::fs::metadata(&file).expect("it is there").len() < 2 << 20, "it does not grow without end");
    learned.close().await;
}

/// What entries say, as far as anybody asks them.
fn said(entries: &[Entry]) -> Vec<(Signature, Token, u32, String)> {
    let say = |entry: &Entry| {
        let (profile, asked) = (&entry.profile, Question::plain(2e9));
        let predictions = format!("{:?} {:?}", profile.memory(asked), profile.run_time(2e9));
        (entry.signature.clone(), entry.class, profile.summary().count(), predictions)
    };
    entries.iter().map(say).collect()
}

/// Looks up all of what is mentioned of a command and of its likes.
fn told_by_index(extract: &Extract, index: &Index, asked: &Signature, classes: &[Token]) -> Vec<Entry> {
    let mut all =
        extract.on_classes(index, asked, &classes.iter().copied().collect()).expect("what is there can be read");
    let likes = extract.kindred(index, asked).expect("what is there can be read");
    let more = likes.into_iter().filter(|it| !all.iter().any(|known| (known.of, known.class) == (it.of, it.class)));
    all.extend(more.collect::<Vec<_>>());
    let entries: Vec<Entry> = all.iter().map(|it| extract.entry(index, it).expect("it is there")).collect();
    for (mention, entry) in all.iter().zip(&entries).filter(|(mention, _)| mention.of != asked.token(extract.tokens()))
    {
        assert_eq!((&mention.inputs, mention.magnitude), (&entry.signature.inputs, entry.magnitude()));
    }
    entries
}

#[tokio::test]
async fn the_index_tells_of_a_command_what_the_store_tells() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = place(dir.path());
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let of = |kind: u64, host: &str| {
        let words = format!("samtools sort --kind{kind}");
        (0..4).map(|n| lesson(&words, &[], host, kind * 100 + n + host.len() as u64 * 10, &key)).collect::<Vec<_>>()
    };
    for kind in 0..80 {
        let mut lessons = of(kind, "alpha");
        lessons.extend((kind % 7 == 0).then(|| of(kind, "beta")).into_iter().flatten());
        learned.learn(lessons, NOW).await.expect("it is written");
    }
    learned.close().await;
    let extract = Extract::open(&place).expect("there is a key");
    let make = |all: &[Entry]| {
        let mut writer = IndexWriter::default();
        extract.add_all(all, &mut writer);
        extract.add_stamp(&Stamp::of(&place).expect("there is a store"), &mut writer);
        writer.write(&advice::path(dir.path())).expect("it is written");
    };
    let mut learned = open(dir.path()).await;
    make(&learned.all().await.expect("it is read"));
    let index = || Index::open(&advice::path(dir.path())).expect("it is there");
    assert!(extract.is_all(&index(), &place));

    let classes = ["alpha", "beta", "gamma"].map(|host| key.token("host", host));
    let asked = |kind: u64| read(&format!("samtools sort --kind{kind}"), &[], &key);
    for kind in [0, 7, 8, 79, 500] {
        let mut told = learned.get_on(&asked(kind), &classes).await.expect("it is read");
        let like = learned.some_likes(&asked(kind), MOST_KIN).await.expect("it is read");
        let more = like.into_iter().filter(|entry| !told.contains(entry)).collect::<Vec<_>>();
        told.extend(more);
        let (index, asked) = (index(), asked(kind));
        let found = told_by_index(&extract, &index, &asked, &classes);
        assert_eq!(said(&found), said(&told), "{kind}");
    }

    // What is learned is in the index too once it was told; before, the index does not pass for all of it.
    for (kind, host) in [(500, "gamma"), (8, "beta"), (0, "alpha")] {
        let before = Stamp::of(&place).expect("there is a store");
        let lessons = of(kind, host).into_iter().map(|mut lesson| {
            lesson.seen.id ^= 1;
            lesson
        });
        learned.learn(lessons.collect(), NOW).await.expect("it is written");
        assert!(!extract.is_all(&index(), &place));
        let entry = learned.get(&asked(kind), key.token("host", host)).await.expect("it is read");
        let stamps = Some((before, Stamp::of(&place).expect("there is a store")));
        match advice::put_learned(dir.path(), &place, &[entry.expect("it is there")], stamps) {
            // Where a key finds no room, which hangs on the store's own key, the index is made anew.
            Err(IndexError::TooLarge) => make(&learned.all().await.expect("it is read")),
            put => put.expect("it is written"),
        }
        assert!(extract.is_all(&index(), &place));
        let mut told = learned.get_on(&asked(kind), &classes).await.expect("it is read");
        let like = learned.some_likes(&asked(kind), MOST_KIN).await.expect("it is read");
        let more = like.into_iter().filter(|entry| !told.contains(entry)).collect::<Vec<_>>();
        told.extend(more);
        let (index, asked) = (index(), asked(kind));
        let found = told_by_index(&extract, &index, &asked, &classes);
        assert_eq!(said(&found), said(&told), "{kind} on {host}");
    }
    // An index that missed something does not become whole by what comes after.
    learned.learn(of(600, "alpha"), NOW).await.expect("it is written");
    let before = Stamp::of(&place).expect("there is a store");
    learned.learn(of(601, "alpha"), NOW).await.expect("it is written");
    let stamps = Some((before, Stamp::of(&place).expect("there is a store")));
    advice::put_learned(dir.path(), &place, &[], stamps).expect("it is written");
    assert!(!extract.is_all(&index(), &place));
    learned.close().await;
    protect(&place.key, None, Some("words")).expect("it is protected");
    assert!(Extract::open(&place).is_none(), "behind a passphrase the store is asked");
}

#[tokio::test]
async fn what_a_machine_learned_of_itself_stays_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut learned = open(dir.path()).await;
    let key = learned.tokens().clone();
    let of = |words: &str, class, n| Lesson { class, ..lesson(words, &[], "", n, &key) };
    // As the format before had it: every machine was one class for itself, the same.
    let before = key.token("class", "local");
    let lessons =
        vec![of("samtools sort", before, 1), of("samtools index", before, 2), of("bwa mem", class_of("hpc", &key), 3)];
    learned.learn(lessons, NOW).await.expect("it is written");
    sqlx::query("PRAGMA user_version = 2").execute(learned.conn()).await.expect("it is written");
    learned.close().await;

    let later = Timestamp(NOW.0 + 5 * DAY);
    let mut learned = Learned::open(&place(dir.path()), None, later).await.expect("the store opens");
    let all = learned.all().await.expect("it is read");
    let mut classes: Vec<_> = all.iter().map(|entry| (entry.signature.to_string(), entry.class)).collect();
    classes.sort();
    let here = class_of("local", &key);
    let told = |words: &str, class| (words.to_owned(), class);
    assert_eq!(
        classes,
        [told("bwa mem", class_of("hpc", &key)), told("samtools index", here), told("samtools sort", here)]
    );
    assert!(learned.get(&read("samtools sort", &[], &key), here).await.expect("it is read").is_some());
    // It did not become newer by that.
    assert_eq!(learned.care(Timestamp(NOW.0 + 180 * DAY), 180).await.expect("it is written").dropped, 0);
    assert_eq!(learned.care(Timestamp(NOW.0 + 181 * DAY), 180).await.expect("it is written").dropped, 3);
    learned.close().await;
}

#[tokio::test]
async fn records_that_go_to_and_fro_stay_as_old_as_they_are() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut a = open(ours.path()).await;
    std::fs::copy(ours.path().join("learned.key"), theirs.path().join("learned.key")).expect("it is copied");
    let mut b = open(theirs.path()).await;
    let key = a.tokens().clone();
    // More than are taken in in one go, and one that models were judged by as it was learned.
    let mut lessons: Vec<_> = (0..550).map(|n| lesson(&format!("samtools sort --k{n}"), &[], "x", n, &key)).collect();
    lessons.extend((550..580).map(|n| {
        let mut lesson = lesson("samtools sort --k0", &[], "x", n, &key);
        lesson.seen.memory *= (n % 7 + 1) as f32;
        lesson
    }));
    a.learn(lessons, NOW).await.expect("it is written");
    let file = ours.path().join("out");
    for days in [100, 170] {
        let now = Timestamp(NOW.0 + days * DAY);
        assert_eq!(a.export(&file).await.expect("it is written"), 550);
        let all = b.open_exchange(&file, &mut std::fs::File::open(&file).expect("it is there")).expect("it opens");
        assert_eq!(b.take(all, now).await.expect("it is written"), if days == 100 { 580 } else { 0 });
        assert_eq!(b.export(&file).await.expect("it is written"), 550);
        let all = a.open_exchange(&file, &mut std::fs::File::open(&file).expect("it is there")).expect("it opens");
        assert_eq!(a.take(all, now).await.expect("it is written"), 0);
    }
    assert_eq!(a.all().await.expect("it is read"), b.all().await.expect("it is read"));
    let last = Timestamp(NOW.0 + 181 * DAY);
    for store in [&mut a, &mut b] {
        assert_eq!(store.care(last, 180).await.expect("it is written").dropped, 550);
    }
}
