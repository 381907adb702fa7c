//! A program that is ten times as large as the guest's RAM.

use super::guest::{explore, run as run_guest};
use super::{ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Count;

/// Guest RAM: little, so that ten times as much is soon done.
const RAM: Size = Size::from_pages(576);

pub fn run() -> Result<Finding, ExploreError> {
    let wanted = RAM.pages() * 10;
    let ran = run_guest(Bundled { ram: RAM, ..explore(&["swap", &wanted.to_string()]) })?;
    let record = ran.first("checked")?;
    let (pages, right) = (record.number("pages")?, record.number("right")?);
    let guest = ran.guest()?;
    let rows: [(&str, u64); 7] = [
        ("guest RAM", RAM.pages()),
        ("most pages of programs in it", guest.resident_peak),
        ("the program's memory", pages),
        ("written out to swap", guest.swapped_out),
        ("brought back from swap", guest.swapped_in),
        ("dropped without writing", guest.evicted_clean),
        ("found right in the end", right),
    ];
    let verdict = if right == pages {
        "every one of them was right"
    } else {
        "some of them were wrong, which is a bug in Bifold"
    };
    Ok(Finding {
        experiment: "swap",
        title: "A program fills ten times as much memory as there is RAM, and then checks every page."
            .to_owned(),
        columns: &["what", "pages"],
        rows: rows.into_iter().map(|(what, pages)| vec![what.into(), pages.into()]).collect(),
        sentence: format!(
            "{} pages were kept in RAM of {} with the help of swap, which took {} pages and gave {} back; \
             {verdict}.",
            Count(pages),
            Count(RAM.pages()),
            Count(guest.swapped_out),
            Count(guest.swapped_in)
        ),
    })
}
