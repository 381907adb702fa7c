//! The bits of a page table's entry, as a program can see them.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;

/// What each bit has to show in turn if CPU and kernel do with it what they should.
const EXPECTED: [(&str, &[&str]); 6] = [
    ("present", &["0", "1", "0"]),
    ("accessed", &["1", "0", "1"]),
    ("dirty", &["1", "0", "1"]),
    ("writable", &["0", "1", "SIGSEGV"]),
    ("user", &["allowed", "SIGSEGV"]),
    ("no execute", &["SIGSEGV", "allowed"]),
];

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(Bundled { ram: Size::mib(6), ..explore(&["bits"]) })?;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for record in ran.all("bit") {
        let (bit, value) = (record.text("bit")?, record.text("value")?);
        seen.push((bit, value));
        rows.push(vec![
            bit.into(),
            record.text("after")?.into(),
            record.text("seen_in")?.into(),
            value.into(),
        ]);
    }
    let is_right = |(bit, wanted): &(&str, &[&str])| {
        seen.iter().filter(|(name, _)| name == bit).map(|(_, value)| value).eq(wanted.iter())
    };
    let (right, wrong): (Vec<_>, Vec<_>) = EXPECTED.iter().partition(|expected| is_right(expected));
    let names = |bits: &[&(&str, &[&str])]| bits.iter().map(|(bit, _)| *bit).collect::<Vec<_>>().join(", ");
    let sentence = if wrong.is_empty() {
        format!("{} bits, each set, cleared and acted on: {}.", right.len(), names(&right))
    } else {
        format!("Not as it should be: {}; as it should be: {}.", names(&wrong), names(&right))
    };
    Ok(Finding {
        experiment: "bits",
        title: "What sets and clears the bits of a page's entry, and what the CPU does because of them."
            .to_owned(),
        columns: &["bit", "after", "seen_in", "value"],
        rows,
        sentence,
    })
}
