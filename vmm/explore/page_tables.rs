//! What page tables cost, by how far pages lie apart.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Count;

/// Bytes that one page of a table of one level would translate: 512 entries of 4 KiB.
const A_TABLE_SPANS: u64 = 512 * 4096;

/// One set of touched pages.
struct Touched {
    apart: String,
    pages: u64,
    span: u64,
    used: u64,
    least: u64,
    left: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    // Little RAM, because counting its page tables takes time.
    let ran = run_guest(Bundled { ram: Size::mib(4), ..explore(&["page-tables"]) })?;
    let mut all = Vec::new();
    for record in ran.all("touched") {
        all.push(Touched {
            apart: record.text("apart")?.to_owned(),
            pages: record.number("pages")?,
            span: record.number("span")?,
            used: record.number("used")?,
            least: record.number("least")?,
            left: record.number("left")?,
        });
    }
    Ok(Finding {
        experiment: "page-tables",
        title: "A process maps a region of nothing else, touches pages in it, and gives it back.".to_owned(),
        columns: &[
            "pages_apart_by",
            "pages_touched",
            "tables_used",
            "least_possible",
            "one_flat_table_would_take",
            "tables_left_after_unmap",
        ],
        rows: all.iter().map(row).collect(),
        sentence: sentence(&all),
    })
}

fn row(touched: &Touched) -> Vec<Cell> {
    vec![
        touched.apart.as_str().into(),
        touched.pages.into(),
        touched.used.into(),
        touched.least.into(),
        touched.span.div_ceil(A_TABLE_SPANS).into(),
        touched.left.into(),
    ]
}

fn sentence(all: &[Touched]) -> String {
    let Some(widest) = all.iter().max_by_key(|touched| touched.span) else {
        return "Nothing was touched.".to_owned();
    };
    let minimal = all.iter().all(|touched| touched.used == touched.least);
    let flat = Count(widest.span.div_ceil(A_TABLE_SPANS));
    let fewest = if minimal {
        "as few as four levels allow, in every case"
    } else {
        "though four levels would allow fewer in some case"
    };
    let freed = if all.iter().all(|touched| touched.left == 0) {
        "; all of them are freed with the region"
    } else {
        ""
    };
    format!(
        "{} pages over {} TiB need {} pages of tables, where one flat table would take {flat}: \
         {fewest}{freed}.",
        widest.pages,
        widest.span >> 40,
        widest.used
    )
}
