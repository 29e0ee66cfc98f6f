use proptest::prelude::*;

use crate::decide::learn::evidence::{Evidence, Law, Prior};
use crate::decide::learn::hosts::{Factor, ratios};
use crate::decide::learn::points::{MODELS, Point, Points, Target};
use crate::decide::learn::profile::{Held, Prediction, Profile, Question, SlimProfile, Source};
use crate::decide::learn::stakes::{Caution, Outcome, Spread, Stakes};
use crate::decide::learn::steps::Steps;
use crate::decide::learn::summary::Summary;
use crate::model::observation::{Cut, Observation, Trust};

const GB: f64 = 1e9;

/// Mixes a number's bits, as an attempt's id is mixed.
fn mixed(n: u64) -> u64 {
    let n = (n.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (n ^ (n >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn seen(n: u64, input: f64, memory: f64, wall: f64) -> Observation {
    let (input, memory, wall) = (input as f32, memory as f32, wall as f32);
    Observation { id: mixed(n), at: n as u32, input, memory, wall, ..Observation::default() }
}

fn learned(of: impl IntoIterator<Item = Observation>) -> Profile {
    let mut profile = Profile::default();
    for observation in of {
        assert!(profile.observe(1, observation), "{observation:?}");
    }
    profile
}

fn memory(profile: &Profile, input: f64) -> Prediction {
    profile.memory(Question::plain(input)).expect("enough was seen")
}

#[test]
fn asks_for_a_little_more_than_what_was_always_needed() {
    let profile = learned((0..30).map(|n| seen(n, GB, 2.0 * GB, 60.0)));
    let found = memory(&profile, GB);
    assert!((2.0 * GB..2.1 * GB).contains(&found.request), "{found:?}");
    assert_eq!((found.n, found.source), (30, Source::Learned));
}

#[test]
fn one_that_lies_far_off_bends_no_line() {
    let sizes = (1..=30_u64).map(|n| (n, n as f64 * GB));
    let of = |wrong: f64| {
        // The largest input is the one with the longest lever.
        let needed = |n: u64, x: f64| if n == 30 { wrong * x } else { (2.0 + 0.01 * (mixed(n) % 10) as f64) * x };
        let all = sizes.clone().map(|(n, x)| seen(n, x, needed(n, x), 60.0));
        Points::new(all.filter_map(|seen| Point::of(Target::Memory, &seen, 1.0))).unwrap().straight(20.0 * GB)
    };
    let (straight, bent) = (of(2.0), of(20.0));
    // Least squares say 83 % more.
    assert!((bent / straight - 1.0).abs() < 0.15, "{straight} {bent}");
}

#[test]
fn tells_what_was_asked_for_in_vain_and_how_often_its_interval_held() {
    let asked = |n: u64| Observation { asked: 8e9, ..seen(n, GB, 2.0 * GB + 1e7 * (mixed(n) % 10) as f64, 60.0) };
    let profile = learned((0..40).map(asked));
    let unused = profile.unused().expect("it is known what was asked for");
    assert!((0.74..0.76).contains(&unused), "{unused}");
    let held = profile.held();
    assert!(held.of > 30 && held.within > held.of / 2, "{held:?}");
    assert_eq!(learned((0..5).map(|n| seen(n, GB, GB, 60.0))).unused(), None);
}

#[test]
fn tells_the_same_of_time() {
    let asked = |n: u64| Observation { asked_time: 36_000.0, ..seen(n, GB, GB, 3600.0 + (mixed(n) % 100) as f64) };
    let cut = |n: u64| Observation { cut: Cut::Time, ..asked(n) };
    // What ran out of memory says nothing of the time.
    let out = |n: u64| Observation { cut: Cut::Memory, ..seen(n, GB, GB, 10.0) };
    let profile = learned((0..60).map(|n| match n % 20 {
        7 => Observation { wall: 36_000.0, ..cut(n) },
        9 => Observation { asked_time: 1e6, ..out(n) },
        _ => asked(n),
    }));
    let unused = profile.unused_time().expect("it is known what was asked for");
    assert!((0.83..0.87).contains(&unused), "{unused}");
    let held = profile.held_time();
    assert_eq!(held.of, 60 - JUDGED_AFTER - 2 * 3, "those that were cut say nothing of it");
    assert!(held.share().is_some_and(|share| share > 0.5), "{held:?}");
    assert_eq!(profile.summary().killed(), 3);
    let untold = learned((0..5).map(|n| seen(n, GB, GB, 60.0)));
    assert_eq!((untold.unused_time(), untold.summary().killed()), (None, 0));
    assert_eq!(untold.held_time().share(), None, "too few to tell");
}

/// Attempts that nothing is predicted of: too few came before them.
const JUDGED_AFTER: u32 = 3;

#[test]
fn the_interval_of_time_that_is_judged_is_the_one_that_is_told() {
    let mut profile = Profile::default();
    let mut within = 0;
    for n in 0..200 {
        let input = (mixed(n) % 50) as f64 * 1e8;
        let came = seen(n, input, GB, 20.0 + input / 1e8 + (mixed(n + 7) % 90) as f64);
        let told = profile.run_time(f64::from(came.input));
        let held = told.is_some_and(|told| (told.low..=told.high).contains(&f64::from(came.wall)));
        within += u32::from(held);
        profile.observe(1, came);
    }
    assert_eq!((profile.held_time().of, profile.held_time().within), (197, within));
}

#[test]
fn what_is_kept_behind_a_profile_comes_back_and_merges() {
    let told = |n: u64| Observation {
        asked_time: 60.0 * n as f32,
        cut: if n.is_multiple_of(9) { Cut::Time } else { Cut::Nothing },
        ..seen(n, GB, GB, 30.0)
    };
    let profile = learned((1..150).map(told));
    let bytes = postcard::to_stdvec(&profile).expect("it is written");
    let mut read: Profile = postcard::from_bytes(&bytes).expect("it is read");
    assert_ne!(read, profile);
    assert_eq!((read.unused_time(), read.held_time()), (None, Held::default()), "nothing is made up");
    // The records of a program that kept nothing of it, and the same attempts told again.
    let mut again = read.clone();
    again.merge(&profile);
    assert_eq!((again.unused_time(), again.summary().killed()), (profile.unused_time(), 16));
    let mut other = profile.clone();
    other.merge(&read);
    assert_eq!(again, other);
    read.append(profile.appendix().expect("it says something"));
    assert_eq!(read, profile);
    assert_eq!(Profile::default().appendix(), None);
}

#[test]
fn says_nothing_before_three_attempts_ran_to_their_end() {
    let mut profile = learned((0..2).map(|n| seen(n, GB, GB, 60.0)));
    let cut = Observation { cut: Cut::Memory, ..seen(2, GB, GB, 60.0) };
    assert!(profile.observe(1, cut));
    assert_eq!(profile.memory(Question::plain(GB)), None);
    assert_eq!(profile.run_time(GB), None);
}

#[test]
fn follows_input_size_to_sizes_between_and_beyond() {
    let profile = learned((0..40).map(|n| {
        let input = (1 + n % 8) as f64 * GB;
        seen(n, input, 0.5 * GB + 0.3 * input, 10.0 + input / 1e8)
    }));
    for input in [2.5 * GB, 12.0 * GB] {
        let (needs, takes) = (0.5 * GB + 0.3 * input, 10.0 + input / 1e8);
        let found = memory(&profile, input);
        assert!((needs..1.35 * needs).contains(&found.request), "{input}: {found:?}");
        let time = profile.run_time(input).expect("enough was seen");
        assert!((0.8 * takes..1.25 * takes).contains(&time.middle), "{input}: {time:?}");
    }
}

#[test]
fn follows_bytes_moved_and_cpu_time_as_functions_of_input_size() {
    let profile = learned((0..40).map(|n| {
        let input = (1 + n % 8) as f64 * GB;
        let noise = 1.0 + 0.02 * ((mixed(n) % 5) as f64 - 2.0);
        let (cpu, io) = ((40.0 + input / 2e7) * noise, (3.0 * input + 0.2 * GB) * noise);
        Observation { cpu: cpu as f32, io: io as f32, ..seen(n, input, GB, 60.0) }
    }));
    for input in [2.5 * GB, 12.0 * GB] {
        for (found, is) in [(profile.cpu_time(input), 40.0 + input / 2e7), (profile.io(input), 3.0 * input + 0.2 * GB)]
        {
            let found = found.expect("enough was seen");
            assert!((0.9 * is..1.1 * is).contains(&found.middle), "{input}: {is} {found:?}");
            assert!(found.low <= is && is <= found.high && found.high < 1.5 * is, "{input}: {is} {found:?}");
            assert_eq!(found.n, 40);
        }
    }
}

#[test]
fn what_was_counted_of_some_attempts_is_predicted_from_those_and_what_was_cut_raises_it() {
    let profile = learned((0..20).map(|n| {
        let io = if n % 4 == 0 { 0.0 } else { 2e9 };
        Observation { io, ..seen(n, GB, GB, 60.0) }
    }));
    let found = profile.io(GB).expect("enough was seen");
    assert!((1.9e9..2.1e9).contains(&found.middle) && found.n == 15, "{found:?}");
    assert_eq!(profile.cpu_time(GB), None, "nobody counted it");
    assert_eq!(
        learned((0..20).map(|n| Observation { io: if n < 2 { 2e9 } else { 0.0 }, ..seen(n, GB, GB, 60.0) })).io(GB),
        None
    );
    let mut cut = profile.clone();
    for n in 20..26 {
        assert!(cut.observe(1, Observation { cut: Cut::Time, io: 8e9, ..seen(n, GB, GB, 90.0) }));
        // Killed for its memory it says nothing of that.
        assert!(cut.observe(1, Observation { cut: Cut::Memory, io: 1e12, ..seen(n + 50, GB, GB, 90.0) }));
    }
    let raised = cut.io(GB).expect("enough was seen");
    assert!(raised.high > 8e9 && raised.high < 1e11, "{raised:?}");
}

#[test]
fn expects_more_of_far_larger_inputs_only_where_size_was_seen_to_matter() {
    let noise = |n: u64| 0.5 + (mixed(n) % 1000) as f64 / 1000.0;
    let size = |n: u64| GB * (1.0 + (n % 5) as f64 / 10.0);
    let by_chance = learned((0..14).map(|n| seen(n, size(n), GB, 100.0 * noise(n))));
    let by_size = learned((0..14).map(|n| seen(n, size(n), GB, 100.0 * size(n) / GB)));
    let expected = |profile: &Profile| profile.run_time(130.0 * GB).expect("enough was seen").middle;
    assert_eq!(by_chance.run_time(130.0 * GB), by_chance.run_time(1.4 * GB), "as of the largest that was seen");
    assert!((10_000.0..16_000.0).contains(&expected(&by_size)), "{}", expected(&by_size));
}

#[test]
fn does_not_follow_a_line_where_memory_stopped_growing() {
    let level = |input: f64| (input / GB).min(8.0) * GB;
    let profile = learned((0..60).map(|n| {
        let input = (1 + (n * 7) % 20) as f64 * GB;
        seen(n, input, level(input), 600.0)
    }));
    let found = memory(&profile, 30.0 * GB);
    assert!(found.request < 10.0 * GB, "{found:?}");
}

#[test]
fn an_attempt_that_was_cut_raises_the_request_above_what_it_had() {
    let mut profile = learned((0..5).map(|n| seen(n, GB, GB, 600.0)));
    let before = memory(&profile, GB);
    for n in 5..20 {
        assert!(profile.observe(1, Observation { cut: Cut::Memory, ..seen(n, GB, 4.0 * GB, 300.0) }));
    }
    let after = memory(&profile, GB);
    assert!(before.request < 1.5 * GB, "{before:?}");
    assert!(after.request > 4.0 * GB, "{after:?}");
    assert!(after.high > 4.0 * GB, "{after:?}");
}

#[test]
fn forgets_what_a_new_version_no_longer_needs() {
    let old = (0..200).map(|n| seen(n, GB, 8.0 * GB, 600.0));
    let new = (200..300).map(|n| seen(n, GB, 2.0 * GB, 600.0));
    let found = memory(&learned(old.chain(new)), GB);
    assert!(found.request < 4.0 * GB, "{found:?}");
}

#[test]
fn poor_measurements_weigh_less() {
    // In turns, so that none is newer than the others: five in eleven needed little, six much.
    let mixed = |trust| {
        let all = (0..11).map(|n| match n % 2 {
            0 => Observation { trust, ..seen(n, GB, 6.0 * GB, 6000.0) },
            _ => seen(n, GB, 2.0 * GB, 2000.0),
        });
        let profile = learned(all);
        (memory(&profile, GB).middle, profile.run_time(GB).expect("enough was seen").middle)
    };
    let (low, fair, full) = (mixed(Trust::Low), mixed(Trust::Fair), mixed(Trust::Full));
    assert!(low.0 < full.0 && low.1 < full.1, "{low:?} {full:?}");
    assert!(low.0 <= fair.0 && fair.0 <= full.0, "{low:?} {fair:?} {full:?}");
}

#[test]
fn retries_grow_from_what_was_seen_and_then_double() {
    let profile = learned((0..20).map(|n| seen(n, GB, (1 + n % 4) as f64 * GB, 60.0)));
    let first = profile.memory_after(2.0 * GB);
    assert!((4.0 * GB..5.0 * GB).contains(&first), "{first}");
    let mut request = 1.0;
    for _ in 0..40 {
        let next = profile.memory_after(request);
        assert!(next >= 1.2 * request);
        request = next;
    }
    assert!(request > 1000.0 * GB);
}

#[test]
fn refuses_senseless_numbers() {
    let mut profile = Profile::default();
    for bad in [f32::NAN, f32::INFINITY, -1.0, 1e30] {
        assert!(!profile.observe(1, Observation { memory: bad, ..seen(1, GB, GB, 1.0) }), "{bad}");
        assert!(!profile.observe(1, Observation { input: bad, ..seen(1, GB, GB, 1.0) }), "{bad}");
    }
    assert!(!profile.observe(1, seen(1, GB, 0.0, 0.0)));
    assert!(profile.summary().is_empty());
}

#[test]
fn time_limits_of_long_tasks_are_protected_while_little_is_known() {
    let few = learned((0..4).map(|n| seen(n, GB, GB, 5000.0 + n as f64)));
    let many = learned((0..40).map(|n| seen(n, GB, GB, 5000.0 + n as f64)));
    let limit = |profile: &Profile| profile.time_limit(Question::plain(GB)).expect("enough was seen").request;
    assert!(limit(&few) >= 3.0 * 5000.0);
    assert!((5040.0..7500.0).contains(&limit(&many)), "{}", limit(&many));
}

#[test]
fn a_limit_waits_no_longer_than_it_is_worth_and_failing_waits_again() {
    const HOUR: f64 = 3600.0;
    let profile = learned((0..60).map(|n| seen(n, GB, GB, 2800.0 + (mixed(n) % 700) as f64)));
    let ask = |profile: &Profile, waits: &[(f64, f64)]| {
        let question = Question { grain: 60.0, ..Question::plain(GB) };
        profile.time_limit_waiting(question, &Steps::of(waits.to_vec())).expect("enough was seen").request
    };
    let usual = ask(&profile, &[]);
    assert!(usual > HOUR, "{usual}");
    assert_eq!(
        profile.time_limit(Question { grain: 60.0, ..Question::plain(GB) }).map(|found| found.request),
        Some(usual)
    );
    // What waits as long whatever it asks for has nothing to gain; a minute less is not worth the room; two hours less are.
    let asked = |waits: &[(f64, f64)]| ask(&profile, waits) as u32;
    assert_eq!(asked(&[(24.0 * HOUR, 600.0)]), usual as u32);
    assert_eq!(asked(&[(HOUR, 5.0), (24.0 * HOUR, 65.0)]), usual as u32);
    assert_eq!(asked(&[(HOUR, 60.0), (24.0 * HOUR, 7200.0)]), 3600);
    // Half of them take three hours: they would be killed, and wait again.
    let wide = learned((0..60).map(|n| seen(n, GB, GB, if n % 2 == 0 { 3000.0 } else { 10_800.0 })));
    assert!(ask(&wide, &[(HOUR, 60.0), (24.0 * HOUR, 86_400.0)]) > 10_800.0);
    // One of thirty-two takes ten hours: whether that is covered is a matter of what the others wait for it.
    let rare = learned((0..96).map(|n| seen(n, GB, GB, if n % 32 == 7 { 36_000.0 } else { 3000.0 })));
    let (short, long) = (HOUR * 1.5, 48.0 * HOUR);
    assert!(ask(&rare, &[(short, 60.0), (long, 86_400.0)]) <= short);
    assert!(ask(&rare, &[(short, 86_000.0), (long, 86_400.0)]) > 36_000.0);
}

#[test]
fn a_profile_stays_under_four_kilobytes() {
    let of = |n: u64| seen(n, mixed(n) as f64 / 1e8, (1 + mixed(n) % 977) as f64 * 1e7, 60.0);
    let profile = learned((0..3000).map(|n| Observation { asked_time: 60.0 + n as f32, ..of(n) }));
    let bytes = postcard::to_stdvec(&profile).expect("a profile can be written");
    let appendix = profile.appendix().expect("there is more");
    let more = postcard::to_stdvec(&appendix).expect("it can be written");
    assert!(bytes.len() + more.len() < 4096, "{} {}", bytes.len(), more.len());
    let mut read: Profile = postcard::from_bytes(&bytes).expect("and read");
    read.append(appendix);
    assert_eq!(read, profile);
    assert_eq!(profile.summary().count(), 3000);
}

#[test]
fn falls_back_from_own_to_other_hosts_to_likes_to_what_is_shipped() {
    let fast = learned((0..10).map(|n| seen(n, GB, 2.0 * GB, 100.0)));
    let law = Law { base: GB, per_byte: 1.0, spread: 2.0 };
    let prior = Some(Prior { memory: Some(law), wall: None });
    let question = Question { grain: 1024.0, ..Question::plain(GB) };
    let all = Evidence {
        own: Some(&fast),
        others: vec![(&fast, Factor { low: 1.5, middle: 2.0, high: 2.5, n: 9 })],
        similar: vec![&fast],
        prior,
    };
    let without_own = Evidence { own: None, ..all.clone() };
    let only_likes = Evidence { others: Vec::new(), ..without_own.clone() };
    let only_prior = Evidence { similar: Vec::new(), ..only_likes.clone() };
    let sources = [&all, &without_own, &only_likes, &only_prior].map(|e| e.memory(question).map(|found| found.source));
    let expected = [Source::Learned, Source::OtherHosts, Source::Similar, Source::Shipped];
    assert_eq!(sources, expected.map(Some));
    let there = without_own.run_time(GB).expect("other hosts know");
    assert!((there.middle - 200.0).abs() < 1.0, "{there:?}");
    let shipped = only_prior.memory(question).expect("it is shipped");
    assert!((4.0 * GB..4.0 * GB + 1024.0).contains(&shipped.request), "{shipped:?}");
    assert_eq!(only_prior.run_time(GB), None);
}

#[test]
fn host_classes_are_compared_by_what_ran_on_both() {
    let line = |n: u64, factor: f64| seen(n, (1 + n % 5) as f64 * GB, GB, factor * (10.0 + (1 + n % 5) as f64));
    let here = learned((0..20).map(|n| line(n, 1.5)));
    let there = learned((0..20).map(|n| line(n, 1.0)));
    let factor = Factor::of(ratios(&here, &there));
    assert!((1.4..1.6).contains(&factor.middle), "{factor:?}");
    assert_eq!(Factor::of(vec![2.0, f64::NAN, -1.0]), Factor::UNKNOWN);
}

prop_compose! {
    fn any_seen()(n in 0u64..400, input in 0.0..1e11f64, memory in 1e6..1e11f64, wall in 0.1..1e5f64, cut in 0u8..12) -> Observation {
        let cut = match cut { 0 => Cut::Memory, 1 => Cut::Time, _ => Cut::Nothing };
        Observation { cut, ..seen(n, input, memory, wall) }
    }
}

/// One observation per id: an attempt ends once.
fn attempts(most: usize) -> impl Strategy<Value = Vec<Observation>> {
    prop::collection::vec(any_seen(), 1..most).prop_map(|mut all| {
        all.sort_by_key(|seen| seen.id);
        all.dedup_by_key(|seen| seen.id);
        all
    })
}

fn summary(origin: u64, of: &[Observation]) -> Summary {
    let mut summary = Summary::default();
    for observation in of {
        summary.add(origin, *observation);
    }
    summary
}

fn merged<'a>(parts: impl IntoIterator<Item = &'a Summary>) -> Summary {
    let mut all = Summary::default();
    for part in parts {
        all.merge(part);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merging_is_free_of_order_and_counts_once(all in attempts(300), first in 0.0..1.0f64, second in 0.0..1.0f64) {
        let (i, j) = ((first * all.len() as f64) as usize, (second * all.len() as f64) as usize);
        let (i, j) = (i.min(j), i.max(j));
        let (a, b, c) = (summary(1, &all[..i]), summary(2, &all[i..j]), summary(3, &all[j..]));
        let whole = merged([&a, &b, &c]);
        prop_assert_eq!(&whole, &merged([&c, &a, &b]));
        prop_assert_eq!(&whole, &merged([&merged([&a, &b]), &c, &a]));
        prop_assert_eq!(&whole, &merged([&whole, &b, &whole]));
        prop_assert_eq!(whole.count() as usize, all.len());
        let direct: Vec<_> = summary(1, &all).kept().map(|(seen, _)| *seen).collect();
        prop_assert_eq!(direct, whole.kept().map(|(seen, _)| *seen).collect::<Vec<_>>());
    }

    #[test]
    fn many_at_once_are_kept_as_one_by_one(all in attempts(200), cut in 0..200usize) {
        let (first, second) = all.split_at(cut.min(all.len()));
        let mut one_by_one = Summary::default();
        let mut new = 0;
        for seen in &all {
            new += u32::from(one_by_one.add(1, *seen));
        }
        let mut at_once = Summary::default();
        let told = at_once.add_all(1, first) + at_once.add_all(1, second);
        prop_assert_eq!(told, new);
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn predictions_of_merged_profiles_do_not_depend_on_order(all in attempts(80), input in 0.0..2e11f64) {
        let half = all.len() / 2;
        let (a, b) = (learned(all[..half].iter().copied()), learned(all[half..].iter().copied()));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(ab.memory(Question::plain(input)), ba.memory(Question::plain(input)));
        prop_assert_eq!(ab.run_time(input), ba.run_time(input));
    }

    #[test]
    fn predictions_are_sound(all in attempts(120), input in 0.0..1e13f64, grain in prop_oneof![Just(0.0), Just(1e6), Just(1e9)]) {
        let profile = learned(all);
        for caution in [Caution::Lean, Caution::Balanced, Caution::Safe] {
            let question = Question { input, grain, caution };
            let found = [profile.memory(question), profile.time_limit(question), profile.run_time(input)];
            for prediction in found.into_iter().flatten() {
                prop_assert!(prediction.request.is_finite() && prediction.request > 0.0, "{:?}", prediction);
                prop_assert!(0.0 < prediction.low && prediction.low <= prediction.middle, "{:?}", prediction);
                prop_assert!(prediction.middle <= prediction.high && prediction.high.is_finite(), "{:?}", prediction);
            }
            if let Some(prediction) = profile.memory(question).filter(|_| grain > 0.0) {
                prop_assert!((prediction.request / grain).fract() == 0.0, "{:?}", prediction);
            }
        }
    }

    #[test]
    fn models_that_say_the_same_of_inputs_of_one_size_are_asked_once(all in attempts(60), size in 0.0..1e10f64, input in 0.0..1e11f64) {
        for target in [Target::Memory, Target::Wall] {
            let of_one_size = all.iter().map(|seen| Observation { input: size as f32, ..*seen });
            let Some(points) = Points::new(of_one_size.filter_map(|seen| Point::of(target, &seen, 1.0))) else { continue };
            let near = points.near(input);
            prop_assert_eq!(MODELS.iter().filter(|model| points.same(**model) == **model).count(), 6);
            for model in MODELS {
                let (own, same) = (points.outcomes(model, &near), points.outcomes(points.same(model), &near));
                prop_assert_eq!(own.len(), same.len());
                for (own, same) in own.iter().zip(&same) {
                    prop_assert!((own.value - same.value).abs() <= 1e-9 * same.value, "{:?}: {:?}, {:?}", model, own, same);
                    prop_assert!((own.weight - same.weight).abs() <= 1e-9, "{:?}: {:?}, {:?}", model, own, same);
                }
            }
        }
    }

    #[test]
    fn two_of_three_requests_are_enough(
        values in prop::collection::vec((1.0..100.0f64, 0.01..1.0f64, 0.1..5.0f64), 1..30),
    ) {
        let outcomes: Vec<Outcome> = values.iter().map(|(value, weight, hours)| Outcome { value: *value, weight: *weight, hours: *hours }).collect();
        let request = Spread::seen(outcomes.clone()).unwrap().least(Stakes::memory(Caution::Balanced), 0.0, 110.0);
        let (all, enough) = outcomes.iter().fold((0.0, 0.0), |(all, enough), outcome| {
            (all + outcome.weight, if outcome.value <= request { enough + outcome.weight } else { enough })
        });
        prop_assert!(enough >= all * (2.0 / 3.0 - 1e-6), "{} of {} at {}", enough, all, request);
    }

    #[test]
    fn the_request_is_the_cheapest_there_is(
        values in prop::collection::vec((1.0..100.0f64, 0.01..1.0f64, 0.1..5.0f64), 1..30),
        again in 0.0..2.0f64,
        then in 50.0..150.0f64,
    ) {
        let outcomes: Vec<Outcome> = values.iter().map(|(value, weight, hours)| Outcome { value: *value, weight: *weight, hours: *hours }).collect();
        let stakes = Stakes { again, tail: 0.0, margin: 0.0, ..Stakes::memory(Caution::Lean) };
        let spread = Spread::new(outcomes.clone(), 1.0, stakes).expect("there are outcomes");
        let cost = |request: f64| -> f64 {
            let then = then.max(request * 1.1);
            // A failure is always followed by `then`, however much more would be needed.
            let under = outcomes.iter().filter(|o| o.value > request).map(|o| o.weight * (stakes.under * request * o.hours + stakes.again * then)).sum::<f64>();
            let rest = outcomes.iter().filter(|o| o.value > request).map(|o| o.weight * o.hours * (then - o.value)).sum::<f64>().max(0.0);
            let over = outcomes.iter().filter(|o| o.value <= request).map(|o| o.weight * o.hours * (request - o.value)).sum::<f64>();
            over + under + stakes.over * rest
        };
        let best = spread.least(stakes, 0.0, then);
        for outcome in &outcomes {
            prop_assert!(cost(best) <= cost(outcome.value) * (1.0 + 1e-9), "{} at {}", best, outcome.value);
        }
    }
}

proptest! {
    // Judging models takes long where nothing is optimized.
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_slim_profile_predicts_the_same(
        seen in proptest::collection::vec((any::<u64>(), 0_u32..3_000, 1_u32..50, 1_u32..90, 0_u8..12), 0..160),
        input in 0_u32..60,
    ) {
        let mut summary = Summary::default();
        for (id, at, size, need, kind) in seen {
            let cut = [Cut::Memory, Cut::Time].get(usize::from(kind)).copied().unwrap_or_default();
            let trust = if kind == 5 { Trust::Low } else { Trust::Full };
            let (input, wall) = (size as f32 * 1e8, 10.0 + need as f32);
            let (memory, asked) = (need as f32 * 1e7, if kind > 8 { 4e9 } else { 0.0 });
            let seen = Observation { id, at, input, memory, wall, cpu: wall, io: 5.0, asked, asked_time: 0.0, cut, trust };
            summary.add(1 + id % 3, seen);
        }
        let profile = Profile::of(summary);
        let bytes = postcard::to_stdvec(&profile.slim()).unwrap();
        let slim: SlimProfile = postcard::from_bytes(&bytes).unwrap();
        let slim = slim.profile().unwrap();
        let input = f64::from(input) * 1e8;
        for caution in [Caution::Lean, Caution::Balanced, Caution::Safe] {
            let question = Question { input, grain: 1e8, caution };
            prop_assert_eq!(slim.memory(question), profile.memory(question));
            prop_assert_eq!(slim.time_limit(question), profile.time_limit(question));
        }
        prop_assert_eq!(slim.run_time(input), profile.run_time(input));
        prop_assert_eq!(slim.memory_after(3e8).to_bits(), profile.memory_after(3e8).to_bits());
        prop_assert_eq!((slim.unused(), slim.held()), (profile.unused(), profile.held()));
        prop_assert_eq!(slim.summary().count(), profile.summary().count());
        prop_assert_eq!(slim.summary().latest(), profile.summary().latest());
    }
}

proptest! {
    #[test]
    fn what_lies_between_two_quantiles_is_told_without_sorting(
        all in proptest::collection::vec((1_u32..30, 0_u32..4), 0..40), value in 1_u32..60, n in 1_u32..40,
    ) {
        let of = |&(value, weight): &(u32, u32)| Outcome { value: f64::from(value), weight: f64::from(weight), hours: 1.0 };
        let outcomes: Vec<Outcome> = all.iter().map(of).collect();
        let (n, value) = (f64::from(n), f64::from(value));
        let told = Spread::holds(outcomes.clone(), (n, 1.0), (0.1, 0.9), value);
        let spread = Spread::seen(outcomes).and_then(|spread| spread.with_tail(n, 1.0));
        prop_assert_eq!(told, spread.map(|spread| (spread.quantile(0.1)..=spread.quantile(0.9)).contains(&value)));
    }
}

#[test]
fn what_is_counted_under_another_origin_counts_once() {
    let some = |from: u64, to: u64| (from..to).map(|n| seen(n, GB, GB, 60.0)).collect::<Vec<_>>();
    let summary = |origin: u64, all: &[Observation]| {
        let mut summary = Summary::default();
        summary.add_all(1, all);
        summary.recount(1, origin);
        summary
    };
    let mut known = summary(7, &some(0, 90));
    known.merge(&summary(7, &some(0, 90)));
    assert_eq!(known.count(), 90);
    known.merge(&summary(7, &some(0, 200)));
    assert_eq!(known.count(), 200, "it grew");
    known.merge(&summary(8, &some(300, 310)));
    assert_eq!(known.count(), 210);
    // Two reports of one begin in one import: the larger counts.
    let mut twice = summary(7, &some(0, 50));
    twice.add_all(1, &some(50, 80));
    twice.recount(1, 7);
    assert_eq!(twice.count(), 50);
    let before = summary(9, &some(0, 200));
    known.merge(&before);
    known.supersede(9, 5, &before);
    assert_eq!(known.count(), 210, "under the name that it had before, too");
}

#[test]
fn what_was_counted_otherwise_is_taken_off_once() {
    let some = |from: u64, to: u64| (from..to).map(|n| seen(n, GB, GB, 60.0)).collect::<Vec<_>>();
    let of = |all: &[Observation]| {
        let mut summary = Summary::default();
        summary.add_all(1, all);
        summary
    };
    // Nine hundred of long ago; every report tells of the three hundred of its window.
    let mut known = Summary::default();
    known.add_all(9, &some(0, 900));
    for (window, all) in [(600..900, 900), (600..900, 900), (600..950, 950), (600..950, 950)] {
        let report = of(&some(window.start, window.end));
        known.supersede(9, 5, &report);
        known.merge(&report);
        assert_eq!(known.count(), all, "{window:?}");
    }
    // Another machine brings back what it has from before.
    let mut other = Summary::default();
    other.add_all(9, &some(0, 900));
    known.merge(&other);
    let report = of(&some(600, 950));
    known.supersede(9, 5, &report);
    known.merge(&report);
    assert_eq!(known.count(), 950);
    // What is told whole leaves nothing.
    let mut known = Summary::default();
    known.add_all(9, &some(0, 20));
    known.supersede(9, 5, &of(&some(0, 30)));
    assert_eq!(known.count(), 0);
}

#[test]
fn an_attempt_that_is_told_twice_needed_the_larger_of_both() {
    let of = |memory: f64| {
        let mut summary = Summary::default();
        summary.add_all(1, &[seen(1, GB, memory, 60.0)]);
        summary
    };
    for (first, second) in [(GB, 32.0 * GB), (32.0 * GB, GB), (0.0, 32.0 * GB)] {
        let mut known = of(first);
        known.merge(&of(second));
        let memory: Vec<f32> = known.kept().map(|(seen, _)| seen.memory).collect();
        assert_eq!((memory, known.count()), (vec![(32.0 * GB) as f32], 1), "{first} {second}");
    }
}

#[test]
fn what_nobody_told_the_end_of_has_none() {
    let at = |id: u64, at: u32| Observation { at, ..seen(id, GB, GB, 60.0) };
    let of = |all: &[Observation]| {
        let mut summary = Summary::default();
        summary.add_all(1, all);
        (summary.latest(), summary.is_undated())
    };
    assert_eq!(of(&[]), (None, false));
    assert_eq!(of(&[at(1, 0), at(2, 0)]), (None, true));
    assert_eq!(of(&[at(1, 7), at(2, 0)]), (Some(7), true));
    assert_eq!(of(&[at(1, 7), at(2, 9)]), (Some(9), false));
}
