//! Minor, major and invalid faults, as a program can count its own.

use super::guest::{explore, file, noise, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::Bundled;
use crate::report::Count;

/// Accesses of each kind.
const ACCESSES: usize = 64;
/// Pages of the file for each of them: as many as the guest's kernel reads ahead.
const AROUND: usize = 16;

pub fn run() -> Result<Finding, ExploreError> {
    let (data, _) = file("/data", &noise(ACCESSES * AROUND), Access::ReadOnly)?;
    let program = explore(&["faults", &ACCESSES.to_string(), "/data"]);
    let ran = run_guest(Bundled { files: vec![data], ..program })?;
    let (mut rows, mut minor, mut major, mut free) = (Vec::new(), 0, 0, 0);
    for record in ran.all("pass") {
        let [accesses, minors, majors] = ["accesses", "minor", "major"].map(|name| record.number(name));
        let (accesses, minors, majors) = (accesses?, minors?, majors?);
        (minor, major) = (minor + minors, major + majors);
        free += accesses.saturating_sub(minors + majors);
        let goes_on = Cell::from("it goes on");
        rows.push(vec![
            record.text("name")?.into(),
            accesses.into(),
            minors.into(),
            majors.into(),
            0.into(),
            goes_on,
        ]);
    }
    let wild = ran.first("invalid")?;
    let (invalid, ended) = (ran.guest()?.invalid_faults, wild.text("ended")?);
    rows.push(vec![wild.text("name")?.into(), 1.into(), 0.into(), 0.into(), invalid.into(), ended.into()]);
    Ok(Finding {
        experiment: "faults",
        title: "A process touches pages and asks its kernel how many faults that were.".to_owned(),
        columns: &["access", "accesses", "minor", "major", "invalid", "what_becomes_of_it"],
        rows,
        sentence: format!(
            "{} faults were minor, for the kernel had what was needed in RAM, {} major, for a disk had it; \
             {} accesses needed no fault, and {} was invalid: it ended its process with {ended}.",
            Count(minor),
            Count(major),
            Count(free),
            Count(invalid)
        ),
    })
}
