//! The order of runs, when they end, and what stays when they are cut short. No guest runs here.

use std::path::PathBuf;

use super::*;
use crate::compare::{Choice, Header, Request, Sample};

struct Setup {
    _folder: tempfile::TempDir,
    path: PathBuf,
    spec: Spec,
}

fn setup(axis: &str, repeats: usize) -> Setup {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.jsonl");
    let axes = vec![Choice::parse(axis).expect("an axis")];
    let request = Request { axes, workloads: vec!["sort"], repeats: Some(repeats), ..Request::default() };
    Setup { _folder: folder, path, spec: request.finish().expect("a comparison") }
}

fn open(setup: &Setup) -> (Journal, Vec<Series>) {
    let text = String::new;
    let (version, bifold, program, cpu) = (text(), text(), text(), text());
    let (kernel, second_level, command) = (text(), text(), Vec::new());
    let header = Header { version, bifold, program, command, cpu, kernel, second_level, ram: 1, swap: None };
    Journal::open(&setup.path, &header).expect("a journal")
}

/// Measures with what `run` makes of the number of each run and its cell.
fn measured(
    setup: &Setup,
    mut run: impl FnMut(usize, &Cell) -> Result<Outcome, Box<dyn Error>>,
) -> Result<Vec<Series>, Box<dyn Error>> {
    let (mut journal, known) = open(setup);
    let mut number = 0;
    let counted = |cell: &Cell| {
        number += 1;
        run(number, cell)
    };
    measure(&setup.spec, (&mut journal, known), counted, |_, _| {})
}

fn sample(ns: usize) -> Outcome {
    Outcome::Measured(Sample { ns: ns as u64, answer: Some("a".to_owned()), ..Sample::default() })
}

#[test]
fn a_cell_that_is_sure_takes_the_fewest_samples_and_one_that_is_not_takes_all() {
    let setup = setup("ratio=1,2", 12);
    let series = measured(&setup, |number, cell| {
        let steady = cell.axes["ratio"] == "1";
        Ok(sample(if steady { 1000 } else { 1000 * (1 + number % 3) }))
    });
    let series = series.expect("it is measured");
    assert_eq!([&series[0], &series[1]].map(|series| series.samples.len()), [FEWEST, 12]);
}

#[test]
fn every_round_has_each_cell_once_and_orders_differ() {
    let setup = setup("ratio=1,2,3,4", 7);
    let mut order = Vec::new();
    measured(&setup, |_, cell| {
        order.push(cell.axes["ratio"].clone());
        Ok(sample(1000))
    })
    .expect("it is measured");
    let rounds: Vec<&[String]> = order.chunks(4).collect();
    assert_eq!(rounds.len(), 8, "the first warms up");
    for round in &rounds {
        let mut sorted = round.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["1", "2", "3", "4"]);
    }
    assert!(rounds.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn what_cannot_be_done_is_tried_once_and_keeps_nobody() {
    let setup = setup("ratio=1,2", 7);
    let mut tries = 0;
    let series = measured(&setup, |_, cell| {
        let refused = cell.axes["ratio"] == "2";
        tries += usize::from(refused);
        Ok(if refused { Outcome::Refused("no userfaultfd".to_owned()) } else { sample(1) })
    });
    let series = series.expect("it is measured");
    assert_eq!(tries, 1);
    assert_eq!(series[0].samples.len(), 7);
    let why = Unmeasured { refused: true, reason: "no userfaultfd".to_owned() };
    assert_eq!(series[1].unmeasured, Some(why));
}

#[test]
fn a_wrong_answer_is_no_sample() {
    let setup = setup("ratio=1,2", 7);
    let series = measured(&setup, |_, cell| {
        let answer = Some(cell.axes["ratio"].clone());
        Ok(Outcome::Measured(Sample { ns: 1, answer, ..Sample::default() }))
    });
    let series = series.expect("it is measured");
    let wrong: Vec<&Series> = series.iter().filter(|series| series.unmeasured.is_some()).collect();
    assert_eq!(wrong.len(), 1, "one of two must be");
    assert!(wrong[0].samples.is_empty());
    assert!(wrong[0].unmeasured.as_ref().is_some_and(|why| !why.refused && why.reason.contains("answer")));
}

#[test]
fn a_comparison_that_was_cut_short_goes_on_where_it_was() {
    let setup = setup("ratio=1,2", 7);
    let cut = measured(&setup, |number, _| if number < 10 { Ok(sample(1)) } else { Err("cut".into()) });
    assert!(cut.is_err());
    let kept: usize = open(&setup).1.iter().map(|series| series.samples.len()).sum();
    assert_eq!(kept, 7, "nine runs, two of which warmed up");
    let mut runs = 0;
    let series = measured(&setup, |_, _| {
        runs += 1;
        Ok(sample(1))
    });
    assert!(series.expect("it is measured").iter().all(|series| series.samples.len() == 7));
    assert_eq!(runs, 2 + 7, "what was there is not measured again, but both cells warm up again");
    measured(&setup, |_, _| Err("nothing is left to run".into())).expect("it is measured");
}
