//! Where everything lies in an address space, and what the holes cost.

use super::areas::{Area, of_a_process};
use super::{Cell, ExploreError, Finding};
use crate::report::Count;

/// A range of addresses: an area, or the hole before one.
enum Part<'a> {
    Area(&'a Area),
    Hole(u64, u64),
}

pub fn run() -> Result<Finding, ExploreError> {
    let areas = of_a_process()?;
    let mut parts = Vec::new();
    let mut last = 0;
    for area in &areas {
        if area.start > last {
            parts.push(Part::Hole(last, area.start));
        }
        parts.push(Part::Area(area));
        last = area.end;
    }
    Ok(Finding {
        experiment: "layout",
        title: "The address space of a process, from 0 up, as /proc/self/maps shows it.".to_owned(),
        columns: &["from", "to", "rights", "what", "pages", "frames"],
        rows: parts.iter().map(row).collect(),
        sentence: sentence(&areas, &parts),
    })
}

fn row(part: &Part<'_>) -> Vec<Cell> {
    let address = |address: u64| Cell::Text(format!("{address:#x}"));
    match part {
        Part::Area(area) => vec![
            address(area.start),
            address(area.end),
            area.rights.as_str().into(),
            area.title().into(),
            area.pages().into(),
            area.resident.into(),
        ],
        Part::Hole(from, to) => {
            let pages = ((to - from) / 4096).into();
            vec![address(*from), address(*to), "".into(), "hole".into(), pages, 0.into()]
        }
    }
}

fn sentence(areas: &[Area], parts: &[Part<'_>]) -> String {
    let holes = parts.iter().filter_map(|part| match part {
        Part::Hole(from, to) => Some(to - from),
        Part::Area(_) => None,
    });
    let (count, bytes) = holes.fold((0, 0), |(count, bytes), hole| (count + 1, bytes + hole));
    let frames = areas.iter().map(|area| area.resident).sum();
    let pages = areas.iter().map(Area::pages).sum();
    format!(
        "{} areas have {} pages, {} of them in frames; the {count} holes between them are {:.1} TiB of \
         addresses without a frame.",
        areas.len(),
        Count(pages),
        Count(frames),
        bytes as f64 / (1u64 << 40) as f64
    )
}
