//! Files as memory: who sees what is written to a mapping, and what of it goes to the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::guest::{explore, file, noise, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::Bundled;
use crate::report::Count;

/// Pages of the file.
const PAGES: usize = 32;

/// One mapping that was written to.
struct Mapping {
    name: String,
    written: u64,
    other: u64,
    read: u64,
    msync: Option<u64>,
    in_file: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let before = noise(PAGES);
    let (data, host) = file("/data", &before, Access::ReadWrite)?;
    let ran = run_guest(Bundled { files: vec![data], ..explore(&["mapped-files", "/data"]) })?;
    let mut mappings = Vec::new();
    for record in ran.all("mapping") {
        let written = record.number("written")?;
        mappings.push(Mapping {
            name: record.text("name")?.to_owned(),
            written,
            other: record.number("other")?,
            read: record.number("read")?,
            msync: record.number("msync").ok(),
            in_file: changed(&host, &before, record.number("first")?, written)?,
        });
    }
    let row = |mapping: &Mapping| -> Vec<Cell> {
        vec![
            mapping.name.as_str().into(),
            mapping.written.into(),
            mapping.other.into(),
            mapping.read.into(),
            mapping.msync.into(),
            mapping.in_file.into(),
        ]
    };
    Ok(Finding {
        experiment: "mapped-files",
        title: format!("A process maps a file of {PAGES} pages and writes to some through the mapping."),
        columns: &[
            "mapping",
            "pages_written",
            "seen_by_another_mapping",
            "seen_by_read",
            "written_by_msync",
            "in_the_host_file_at_the_end",
        ],
        rows: mappings.iter().map(row).collect(),
        sentence: sentence(&mappings),
    })
}

/// How many of these pages of the host file have another content than before.
fn changed(host: &File, before: &[u8], first: u64, count: u64) -> std::io::Result<u64> {
    let mut changed = 0;
    for page in first..first + count {
        let mut now = [0; 4096];
        let at = page as usize * now.len();
        host.read_exact_at(&mut now, at as u64)?;
        changed += u64::from(before.get(at..at + now.len()) != Some(&now));
    }
    Ok(changed)
}

fn sentence(mappings: &[Mapping]) -> String {
    let of =
        |shared: bool| mappings.iter().filter(move |mapping| mapping.name.starts_with("shared") == shared);
    let all = of(true).all(|mapping| [mapping.other, mapping.read, mapping.in_file] == [mapping.written; 3]);
    let none = of(false).all(|mapping| [mapping.other, mapping.read, mapping.in_file] == [0; 3]);
    let shared = if all {
        "is seen by all at once and is in the file at the end"
    } else {
        "was not all seen, or is not all in the file"
    };
    let private = if none { "stays its process's own" } else { "got out of its process" };
    let exact = of(true).all(|mapping| mapping.msync.is_none_or(|pages| pages == mapping.written));
    let wrote: u64 = of(true).filter_map(|mapping| mapping.msync).sum();
    let msync =
        format!("msync wrote {} pages{}", Count(wrote), if exact { ", the dirty ones alone" } else { "" });
    format!("What is written to a shared mapping {shared}; to a private one, it {private}; {msync}.")
}
