//! How many pages the TLB reaches: words of so many pages, followed one after the other.

use super::guest::{explore, run as run_guest};
use super::record::Record;
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPage, GuestPaging};
use crate::memory::Size;
use crate::report::Count;

/// The most pages, and a guest that has room for them.
const PAGES: u64 = 4096;
const RAM: Size = Size::mib(28);

/// So many words, a page each and side by side; nanoseconds for a thousand accesses.
struct Chain {
    pages: u64,
    apart_ns: u64,
    packed_ns: u64,
}

impl Chain {
    /// How many times as long an access takes where each needs another translation.
    fn times(&self) -> f64 {
        self.apart_ns as f64 / self.packed_ns.max(1) as f64
    }
}

pub fn run() -> Result<Finding, ExploreError> {
    let (small, huge) = (chains(GuestPage::Small)?, chains(GuestPage::Huge2M)?);
    let row = |(small, huge): (&Chain, &Chain)| {
        vec![
            small.pages.into(),
            Cell::Nanos(small.packed_ns),
            Cell::Nanos(small.apart_ns),
            Cell::Times(small.times()),
            Cell::Nanos(huge.apart_ns),
            Cell::Times(huge.times()),
        ]
    };
    Ok(Finding {
        experiment: "tlb",
        title:
            "A program follows a chain of words, each in another page of 4 KiB; times are of 1 000 accesses."
                .to_owned(),
        columns: &[
            "words",
            "side_by_side_ns",
            "a_page_each_ns",
            "times_side_by_side",
            "in_huge_pages_ns",
            "times_huge",
        ],
        rows: small.iter().zip(&huge).map(row).collect(),
        sentence: sentence(&small, &huge),
    })
}

fn chains(page: GuestPage) -> Result<Vec<Chain>, ExploreError> {
    let paging = GuestPaging { page, ..GuestPaging::default() };
    let ran = run_guest(Bundled { ram: RAM, paging, ..explore(&["tlb", &PAGES.to_string()]) })?;
    let chain = |record: &Record| {
        let steps = record.number("steps")?.max(1);
        let time = |name: &str| record.number(name).map(|cycles| ran.nanoseconds(cycles) * 1000 / steps);
        Ok(Chain { pages: record.number("pages")?, apart_ns: time("apart")?, packed_ns: time("packed")? })
    };
    ran.all("chains").map(chain).collect()
}

/// How many pages the TLB surely reaches: the most before the first that take twice as long as the caches
/// alone would. `None`: no such knee.
fn reach(chains: &[Chain]) -> Option<u64> {
    let knee = chains.iter().position(|chain| chain.times() >= 2.0)?;
    Some(chains.get(knee.checked_sub(1)?)?.pages)
}

fn sentence(small: &[Chain], huge: &[Chain]) -> String {
    let size = |pages| format!("{} KiB", Count(pages * 4));
    let most = small.last().map_or(0, |chain| chain.pages);
    match (reach(small), reach(huge)) {
        (None, _) => format!("No knee is seen up to {} pages: the TLB reaches them all.", Count(most)),
        (Some(pages), None) => format!(
            "Latency has doubled beyond {pages} pages of 4 KiB: the TLB reaches about {}; in \
             pages of 2 MiB no knee is seen up to {}.",
            size(pages),
            size(most)
        ),
        (Some(pages), Some(same)) if pages == same => format!(
            "Latency has doubled beyond {pages} pages: the TLB reaches about {}; it does there in the \
             guest's pages of 2 MiB, too, as where the host maps them in pages of 4 KiB.",
            size(pages)
        ),
        (Some(pages), Some(other)) => format!(
            "Latency has doubled beyond {pages} pages of 4 KiB: the TLB reaches about {}; in \
             pages of 2 MiB it has beyond {}.",
            size(pages),
            size(other)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chains(times: &[u64]) -> Vec<Chain> {
        let chain =
            |(n, &times): (usize, &u64)| Chain { pages: 16 << n, apart_ns: times * 1000, packed_ns: 1000 };
        times.iter().enumerate().map(chain).collect()
    }

    #[test]
    fn the_reach_is_what_comes_before_the_first_doubling() {
        assert_eq!(reach(&chains(&[1, 1, 1, 2, 3])), Some(64));
        assert_eq!(reach(&chains(&[1, 1, 1])), None);
        assert_eq!(reach(&chains(&[2, 3])), None);
    }

    #[test]
    fn the_sentence_compares_the_two_page_sizes() {
        let (early, never) = (chains(&[1, 1, 2]), chains(&[1, 1, 1]));
        assert!(sentence(&never, &never).starts_with("No knee"));
        assert!(sentence(&early, &never).contains("no knee is seen up to"));
        assert!(sentence(&early, &early).contains("it does there in the guest's pages of 2 MiB"));
        assert!(sentence(&early, &chains(&[1, 2, 2])).contains("it has beyond 64 KiB"));
    }
}
