//! What huge pages save, and what they do not: an array is touched and then updated at random.

use super::guest::{Ran, explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPage, GuestPaging};
use crate::memory::Size;
use crate::report::{Count, Nanos};

/// The array, in a guest that has room for it.
const ARRAY: Size = Size::mib(16);
const RAM: Size = Size::mib(28);
/// Random updates of it.
const UPDATES: u64 = 200_000;

/// The array in pages of one size.
struct Array {
    page: &'static str,
    /// How much of it is in huge pages, in KiB.
    huge_kib: u64,
    faults: u64,
    tables: u64,
    /// The average first touch of 4 KiB.
    touch_ns: u64,
    /// A thousand updates.
    updates_ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let [small, huge] =
        [("4 KiB", GuestPage::Small), ("2 MiB", GuestPage::Huge2M)].map(|(name, page)| in_pages(name, page));
    let both = [small?, huge?];
    let row = |array: &Array| {
        vec![
            array.page.into(),
            Cell::Part(array.huge_kib as f64 * 1024.0 / ARRAY.bytes() as f64),
            array.faults.into(),
            array.tables.into(),
            Cell::Nanos(array.touch_ns),
            Cell::Nanos(array.updates_ns),
        ]
    };
    Ok(Finding {
        experiment: "huge-pages",
        title: format!("A program touches an array of {ARRAY}, and then updates elements of it at random."),
        columns: &[
            "guest_pages",
            "huge",
            "faults",
            "table_pages",
            "first_touch_of_4_kib_ns",
            "thousand_updates_ns",
        ],
        rows: both.iter().map(row).collect(),
        sentence: sentence(&both),
    })
}

fn in_pages(name: &'static str, page: GuestPage) -> Result<Array, ExploreError> {
    let program = explore(&["huge-pages", &ARRAY.pages().to_string(), &UPDATES.to_string()]);
    let paging = GuestPaging { page, ..GuestPaging::default() };
    let ran = run_guest(Bundled { ram: RAM, paging, ..program })?;
    array(name, &ran)
}

fn array(page: &'static str, ran: &Ran) -> Result<Array, ExploreError> {
    let record = ran.first("array")?;
    let time = |name: &str| record.number(name).map(|cycles| ran.nanoseconds(cycles));
    Ok(Array {
        page,
        huge_kib: record.number("huge_kib")?,
        faults: record.number("faults")?,
        tables: record.number("tables")?,
        touch_ns: time("touch")? / record.number("pages")?.max(1),
        updates_ns: time("update")? * 1000 / record.number("updates")?.max(1),
    })
}

fn sentence([small, huge]: &[Array; 2]) -> String {
    if huge.huge_kib == 0 {
        return "The guest had no huge page, so there is nothing to compare.".to_owned();
    }
    let tables = if huge.tables + 1 < small.tables {
        format!("{} pages of tables for {}", huge.tables, small.tables)
    } else {
        format!(
            "but {} pages of tables for {}, because one is set aside for each huge page that may be split",
            huge.tables, small.tables
        )
    };
    let (before, after) = (small.updates_ns as f64, huge.updates_ns.max(1) as f64);
    let updates = match before / after {
        times @ 1.1.. => format!("a random update is {times:.2} times as fast"),
        0.9.. => "a random update takes as long as before, as where KVM maps guest memory in pages of 4 KiB \
                  whatever the guest's are"
            .to_owned(),
        times => format!("a random update is slower, {:.2} times", 1.0 / times),
    };
    format!(
        "Huge pages take {} faults for {}, and {} for each 4 KiB touched instead of {}, {tables}; {updates}.",
        Count(huge.faults),
        Count(small.faults),
        Nanos(huge.touch_ns),
        Nanos(small.touch_ns)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tables: u64, updates_ns: u64, huge_kib: u64) -> String {
        let array = |huge_kib, faults, tables, updates_ns| Array {
            page: "",
            huge_kib,
            faults,
            tables,
            touch_ns: 1000,
            updates_ns,
        };
        sentence(&[array(0, 4096, 9, 1000), array(huge_kib, 8, tables, updates_ns)])
    }

    #[test]
    fn only_what_was_saved_is_told_as_saved() {
        let text = said(0, 500, 16384);
        assert!(text.contains("8 faults for 4 096") && text.contains("2.00 times as fast"), "{text}");
        assert!(!text.contains("but 0 pages"), "{text}");
        let text = said(8, 1000, 16384);
        assert!(text.contains("but 8 pages of tables for 9") && text.contains("as long as before"), "{text}");
        assert!(said(8, 2000, 16384).contains("slower, 2.00 times"));
        assert!(said(9, 1000, 0).contains("no huge page"));
    }
}
