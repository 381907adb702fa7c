//! Which evictions write, and which do not have to.

use super::guest::{explore, file, noise, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Count;

/// Guest RAM, and pages that do not fit into it.
const RAM: Size = Size::from_pages(600);
const PAGES: usize = 160;

/// A pass over all pages.
struct Pass {
    name: String,
    accesses: u64,
    evicted: u64,
    written: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let (data, _) = file("/data", &noise(PAGES), Access::ReadOnly)?;
    let program = explore(&["eviction", &PAGES.to_string(), "/data"]);
    let ran = run_guest(Bundled { ram: RAM, files: vec![data], ..program })?;
    let mut passes = Vec::new();
    for record in ran.all("pass") {
        passes.push(Pass {
            name: record.text("name")?.to_owned(),
            accesses: record.number("accesses")?,
            evicted: record.number("evicted")?,
            written: record.number("written")?,
        });
    }
    let row = |pass: &Pass| -> Vec<Cell> {
        vec![
            pass.name.as_str().into(),
            pass.accesses.into(),
            pass.evicted.into(),
            (pass.evicted - pass.written.min(pass.evicted)).into(),
            pass.written.into(),
        ]
    };
    Ok(Finding {
        experiment: "eviction",
        title: format!(
            "A process goes over {PAGES} pages that do not all fit into RAM, so that most accesses evict a \
             page."
        ),
        columns: &["pass", "accesses", "evicted", "clean_just_dropped", "dirty_written_first"],
        rows: passes.iter().map(row).collect(),
        sentence: sentence(&passes),
    })
}

fn sentence(passes: &[Pass]) -> String {
    let part = |pass: &Pass| pass.written as f64 / pass.evicted.max(1) as f64 * 100.0;
    let each = passes.iter().map(|pass| {
        format!("{:.0}% of the {} evictions where {}", part(pass), Count(pass.evicted), pass.name)
    });
    let each: Vec<String> = each.collect();
    format!("Pages had to be written out in {}: what has a good copy elsewhere is dropped.", each.join(", "))
}
