//! The texts and files of a comparison.

use super::*;
use crate::compare::{Cell, Sample, Series, Unmeasured};

fn header() -> Header {
    Header {
        version: "1".to_owned(),
        bifold: String::new(),
        program: String::new(),
        command: vec!["./a".to_owned(), "<b>".to_owned()],
        cpu: "A CPU".to_owned(),
        kernel: "6".to_owned(),
        second_level: "NPT".to_owned(),
        ram: 64 << 20,
        swap: None,
    }
}

fn series(backing: &str, around: u64, count: u64) -> Series {
    let axes = [("backing".to_owned(), backing.to_owned())].into();
    let sample = |n| Sample { ns: around + n, guest_faults: Some(1234), ..Sample::default() };
    let samples = (0..count).map(sample).collect();
    Series { cell: Cell { workload: "a,<b>".to_owned(), axes }, samples, unmeasured: None }
}

fn report() -> ComparisonReport {
    let mut refused = series("hugetlb-2m", 0, 0);
    let reason = "no pool | echo 32 > /sys/x".to_owned();
    refused.unmeasured = Some(Unmeasured { refused: true, reason });
    let all = vec![series("4k", 1000, 9), series("thp", 500, 9), refused];
    let comparison = Comparison::new(all, &[("backing", "4k".to_owned())]);
    ComparisonReport { comparison, header: header(), precision: 0.001 }
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("memory");
    String::from_utf8(bytes).expect("text")
}

#[test]
fn the_table_has_a_row_for_each_cell_and_says_why_one_is_empty() {
    let text = report().to_string();
    for words in [
        "baseline",
        "faster",
        "0.50",
        "not possible",
        "not possible here: a,<b> backing=hugetlb-2m: no pool",
        "1 234",
        "the winner is backing=thp",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(text.contains("2 of 3 medians are less sure than 0.1%"), "{text}");
}

#[test]
fn markdown_keeps_its_columns_whatever_the_texts_hold() {
    let text = written(|to| report().write_markdown(to));
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let columns = rows.map(|row| row.replace("\\|", "").matches('|').count()).collect::<Vec<_>>();
    assert_eq!(columns, [10; 5], "{text}");
}

#[test]
fn csv_has_a_line_for_each_sample() {
    let text = written(|to| report().write_csv(to));
    assert_eq!(text.lines().count(), 1 + 18);
    assert_eq!(text.lines().nth(1), Some("\"a,<b>\",4k,1,1000,,1234,,,,"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_takes_no_text_for_markup() {
    let page = written(|to| report().write_html(to));
    for never in ["<script", "http:", "https:", "url(", "@import", "src=", "<b>"] {
        assert!(!page.contains(never), "{never}");
    }
    assert_eq!(page.matches("<svg").count(), 2, "ratios and samples of the one work");
    assert_eq!(page.matches("class=\"sample\"").count(), 18);
    assert_eq!(page.matches("class=\"mark\"").count(), 2);
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}
