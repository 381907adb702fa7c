//! Properties, and how often the statistics are wrong: on samples that were made up, and on recorded ones.

use proptest::prelude::*;

use super::*;

/// Times of 400 runs of one program in the order in which they were taken; each file's first line says where.
const BUSY: &str = include_str!("busy.txt");
const QUIET: &str = include_str!("quiet.txt");
/// How many samples a side of a comparison has here: as many as a cell takes at most, if nothing else is
/// asked for.
const SIDE: usize = 15;
const TRIALS: usize = 100;

/// How many of [`TRIALS`] comparisons found the second side slower or faster, when it is the first, `planted`
/// times as slow.
fn found(planted: f64, mut sample: impl FnMut() -> Vec<f64>) -> [usize; 2] {
    let mut found = [0; 2];
    for trial in 0..TRIALS {
        let mut samples = sample();
        // As a matrix takes them: whose turn it is in each pair is left to chance.
        let mut random = Random::new(trial as u64);
        samples.chunks_exact_mut(2).for_each(|pair| random.shuffle(pair));
        let base: Vec<f64> = samples.iter().copied().step_by(2).collect();
        let other: Vec<f64> = samples.iter().skip(1).step_by(2).map(|time| time * planted).collect();
        match ratio_interval(&other, &base, CONFIDENCE).expect("enough samples").difference() {
            Difference::None => {}
            Difference::Slower => found[0] += 1,
            Difference::Faster => found[1] += 1,
        }
    }
    found
}

/// Consecutive stretches of recorded times, so that drift is in them.
fn stretches(recorded: &str) -> impl FnMut() -> Vec<f64> {
    let lines = recorded.lines().filter(|line| !line.starts_with('#'));
    let all: Vec<f64> = lines.map(|line| line.parse().expect("a number")).collect();
    let mut start = 0;
    move || {
        start = (start + 37) % (all.len() - 2 * SIDE);
        all[start..start + 2 * SIDE].to_vec()
    }
}

/// Times with noise of about 2% and, now and then, a run that something else on the machine held up.
fn made_up() -> impl FnMut() -> Vec<f64> {
    let mut random = Random::new(7);
    move || {
        let unit = |random: &mut Random| random.below(1 << 20) as f64 / f64::from(1 << 20);
        let one = |_| {
            let noise: f64 = (0..6).map(|_| unit(&mut random) - 0.5).sum::<f64>() * 0.02;
            let held_up = if unit(&mut random) < 0.1 { unit(&mut random) } else { 0.0 };
            1e8 * (1.0 + noise + held_up)
        };
        (0..2 * SIDE).map(one).collect()
    }
}

#[test]
fn a_program_compared_with_itself_does_not_differ_in_95_of_100_trials() {
    for found in [found(1.0, stretches(QUIET)), found(1.0, stretches(BUSY)), found(1.0, made_up())] {
        println!("the same: slower, faster in {TRIALS} trials: {found:?}");
        assert!(found.iter().sum::<usize>() <= 5, "{found:?}");
    }
}

#[test]
fn a_planted_slowdown_of_5_percent_is_found_and_never_taken_for_the_opposite() {
    for found in [found(1.05, stretches(QUIET)), found(1.05, made_up())] {
        println!("5% slower: slower, faster in {TRIALS} trials: {found:?}");
        assert!(found[0] >= 90 && found[1] == 0, "{found:?}");
    }
    // Where runs take up to twice as long as others, it may be missed.
    let [slower, faster] = found(1.05, stretches(BUSY));
    println!("5% slower, busy: slower, faster in {TRIALS} trials: [{slower}, {faster}]");
    assert!(slower >= 30 && faster == 0, "{slower}, {faster}");
}

#[test]
fn nothing_is_said_about_too_few_samples() {
    let few = vec![1.0; FEWEST - 1];
    assert_eq!(median_interval(&few), None);
    assert_eq!(ratio_interval(&few, &[1.0; FEWEST], CONFIDENCE), None);
    assert_eq!(median(&[]), 0.0);
    assert_eq!(ratio_interval(&[1.0; FEWEST], &[0.0; FEWEST], CONFIDENCE), None, "no ratio to nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_interval_holds_its_estimate_and_stays_within_the_samples(
        samples in prop::collection::vec(1.0..1e9_f64, FEWEST..40)
    ) {
        let Interval { low, estimate, high } = median_interval(&samples).expect("enough");
        let least = samples.iter().copied().fold(f64::MAX, f64::min);
        let most = samples.iter().copied().fold(0.0, f64::max);
        prop_assert!(least <= low && low <= estimate && estimate <= high && high <= most);
    }

    #[test]
    fn the_median_parts_the_samples_in_halves(samples in prop::collection::vec(0.0..1e9_f64, 1..50)) {
        let middle = median(&samples);
        let below = samples.iter().filter(|&&sample| sample < middle).count();
        let above = samples.iter().filter(|&&sample| sample > middle).count();
        prop_assert!(below <= samples.len() / 2 && above <= samples.len() / 2);
    }

    #[test]
    fn units_and_the_order_of_the_samples_change_nothing(
        samples in prop::collection::vec(1.0..2.0_f64, FEWEST..20),
        base in prop::collection::vec(1.0..2.0_f64, FEWEST..20),
    ) {
        let ratio = ratio_interval(&samples, &base, CONFIDENCE).expect("enough");
        let doubled = |side: &[f64]| side.iter().map(|sample| sample * 2.0).collect::<Vec<_>>();
        prop_assert_eq!(ratio_interval(&doubled(&samples), &doubled(&base), CONFIDENCE), Some(ratio));
        let mut reversed = samples.clone();
        reversed.reverse();
        prop_assert_eq!(median(&reversed), median(&samples));
    }

    #[test]
    fn more_confidence_never_narrows_an_interval(
        samples in prop::collection::vec(1.0..2.0_f64, FEWEST..20)
    ) {
        let of = |confidence| ratio_interval(&samples, &samples, confidence).expect("enough");
        let (sure, surer) = (of(0.95), of(0.999));
        prop_assert!(surer.low <= sure.low && sure.high <= surer.high);
    }
}
