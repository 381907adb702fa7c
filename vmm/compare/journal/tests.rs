//! What a journal keeps, whatever happens to it.

use super::*;

fn header() -> Header {
    Header {
        version: "1".to_owned(),
        bifold: "b".to_owned(),
        program: "p".to_owned(),
        command: Vec::new(),
        cpu: "c".to_owned(),
        kernel: "k".to_owned(),
        second_level: "EPT".to_owned(),
        ram: 64 << 20,
        swap: None,
    }
}

fn cell(backing: &str) -> Cell {
    Cell { workload: "w".to_owned(), axes: [("backing".to_owned(), backing.to_owned())].into() }
}

fn sample(ns: u64) -> Sample {
    Sample { ns, answer: Some("a".to_owned()), mapped: Some([1, 2, 3]), ..Sample::default() }
}

#[test]
fn what_was_kept_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.jsonl");
    let (mut journal, none) = Journal::open(&path, &header()).expect("a new one");
    assert_eq!(none, []);
    assert!(matches!(Journal::open(&path, &header()), Err(JournalError::Busy(_))), "one at a time");
    let why = Unmeasured { refused: true, reason: "no".to_owned() };
    journal.sample(&cell("4k"), &sample(1)).expect("space");
    journal.unmeasured(&cell("thp"), &why).expect("space");
    journal.sample(&cell("4k"), &sample(2)).expect("space");
    drop(journal);

    let (_, series) = Journal::open(&path, &header()).expect("the same one");
    let expected = [
        Series { cell: cell("4k"), samples: vec![sample(1), sample(2)], unmeasured: None },
        Series { cell: cell("thp"), samples: Vec::new(), unmeasured: Some(why) },
    ];
    assert_eq!(series, expected);
    assert_eq!(Record::load(&path).expect("it is one").series, expected);
}

#[test]
fn a_line_that_was_cut_off_is_taken_out_wherever_the_cut_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.jsonl");
    let (mut journal, _) = Journal::open(&path, &header()).expect("a new one");
    journal.sample(&cell("4k"), &sample(1)).expect("space");
    let kept = journal.end as usize;
    journal.sample(&cell("4k"), &sample(2)).expect("space");
    drop(journal);
    let whole = fs::read(&path).expect("it was written");
    for cut in kept..whole.len() {
        fs::write(&path, &whole[..cut]).expect("space");
        let (mut journal, series) = Journal::open(&path, &header()).expect("the same one");
        assert_eq!(series[0].samples, [sample(1)], "cut at {cut}");
        journal.sample(&cell("4k"), &sample(2)).expect("space");
        assert_eq!(fs::read(&path).expect("it was written"), whole, "cut at {cut}");
    }
}

#[test]
fn samples_of_other_things_are_not_mixed_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.jsonl");
    drop(Journal::open(&path, &header()).expect("a new one"));
    let refused = |other: Header| Journal::open(&path, &other).map(|_| ()).expect_err("refused").to_string();
    assert!(refused(Header { bifold: "x".to_owned(), ..header() }).contains("build"));
    assert!(refused(Header { program: "x".to_owned(), ..header() }).contains("program"));
    assert!(refused(Header { kernel: "x".to_owned(), ..header() }).contains("kernel"));
    assert!(refused(Header { ram: 1, ..header() }).contains("--ram"));
}

#[test]
fn a_file_that_is_no_journal_is_named_with_its_line_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "buy milk\n").expect("a file");
    let error = Record::load(&path).expect_err("no journal").to_string();
    assert!(error.contains("notes.txt:1:"), "{error}");
    assert!(Journal::open(&path, &header()).is_err());
    assert_eq!(fs::read_to_string(&path).expect("a file"), "buy milk\n");
    fs::write(&path, "").expect("a file");
    assert!(Record::load(&path).is_err(), "an empty file is none either");
}
