//! Where each page of a live process is, or what it would be made of.

use super::areas::{Area, of_a_process};
use super::{ExploreError, Finding};
use crate::report::Count;

pub fn run() -> Result<Finding, ExploreError> {
    let areas = of_a_process()?;
    let row = |area: &Area| {
        vec![
            area.title().into(),
            area.pages().into(),
            area.resident.into(),
            area.zero.into(),
            area.file.into(),
            area.swap.into(),
        ]
    };
    Ok(Finding {
        experiment: "recipes",
        title: "The pages of a running process: in a frame, or a recipe for when they are touched."
            .to_owned(),
        columns: &["area", "pages", "in_a_frame", "zeros", "page_of_a_file", "slot_of_swap"],
        rows: areas.iter().map(row).collect(),
        sentence: sentence(&areas),
    })
}

fn sentence(areas: &[Area]) -> String {
    let sum = |value: fn(&Area) -> u64| Count(areas.iter().map(value).sum());
    format!(
        "Of {} pages that the process may touch, {} have a frame; the others are no more than a note of \
         what they are made of: {} of zeros, {} of a page of a file, {} of a slot of the swap disk.",
        sum(Area::pages),
        sum(|area| area.resident),
        sum(|area| area.zero),
        sum(|area| area.file),
        sum(|area| area.swap)
    )
}
