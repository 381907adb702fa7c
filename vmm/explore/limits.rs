//! Two processes with the same work, of which one may have few pages in RAM.

use super::guest::{explore, run as run_guest};
use super::{ExploreError, Finding};
use crate::report::Count;

/// The pages that each uses, how many the one may have in RAM, and how often each uses them.
const PAGES: usize = 256;
const LIMIT: usize = 64;
const ROUNDS: usize = 3;

/// One of the two.
struct Process {
    /// 0: none.
    limit: u64,
    pages: u64,
    resident: u64,
    minor: u64,
    major: u64,
    wrong: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let [pages, limit, rounds] = [PAGES, LIMIT, ROUNDS].map(|number| number.to_string());
    let ran = run_guest(explore(&["limits", &pages, &limit, &rounds]))?;
    let mut both = Vec::new();
    for record in ran.all("process") {
        both.push(Process {
            limit: record.number("limit")?,
            pages: record.number("pages")?,
            resident: record.number("resident")?,
            minor: record.number("minor")?,
            major: record.number("major")?,
            wrong: record.number("wrong")?,
        });
    }
    both.sort_by_key(|process| process.limit == 0);
    let row = |process: &Process| {
        let name = if process.limit > 0 { "the one with a limit" } else { "its neighbour" };
        vec![
            name.into(),
            (process.limit > 0).then_some(process.limit).into(),
            process.pages.into(),
            process.resident.into(),
            process.minor.into(),
            process.major.into(),
            process.wrong.into(),
        ]
    };
    Ok(Finding {
        experiment: "limits",
        title: format!(
            "Two processes use {PAGES} pages each, {ROUNDS} times, side by side; RAM holds them all."
        ),
        columns: &["process", "limit", "pages", "resident_at_the_end", "minor", "major", "wrong"],
        rows: both.iter().map(row).collect(),
        sentence: sentence(&both),
    })
}

fn sentence(both: &[Process]) -> String {
    let [limited, free] = both else {
        return "There were not two processes to compare.".to_owned();
    };
    if limited.wrong + free.wrong > 0 {
        return "Some page was found wrong, which is a bug in Bifold.".to_owned();
    }
    let kept = if limited.resident <= limited.limit { "keeps to" } else { "does not keep to" };
    let neighbour = if free.major == 0 && free.resident == free.pages {
        "has all of its pages in RAM and waits for none".to_owned()
    } else {
        format!("has {} of its pages in RAM and waits for {}", Count(free.resident), Count(free.major))
    };
    format!(
        "With {} pages in RAM the one {kept} its limit of {}, and waits {} times for a page of its own from \
         swap; its neighbour {neighbour}.",
        Count(limited.resident),
        Count(limited.limit),
        Count(limited.major)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(resident: u64, neighbours_major: u64, wrong: u64) -> String {
        let process =
            |limit, resident, major| Process { limit, pages: 256, resident, minor: 256, major, wrong };
        sentence(&[process(64, resident, 700), process(0, 256, neighbours_major)])
    }

    #[test]
    fn the_sentence_follows_the_numbers() {
        let text = said(60, 0, 0);
        assert!(text.contains("keeps to its limit of 64") && text.contains("waits for none"), "{text}");
        let text = said(100, 9, 0);
        assert!(text.contains("does not keep to") && text.contains("waits for 9"), "{text}");
        assert!(said(60, 0, 1).contains("bug"));
    }
}
