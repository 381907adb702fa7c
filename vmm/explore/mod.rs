//! Experiments: each shows one idea of memory at work, by what is measured while programs use it.
//!
//! One file an experiment. It starts guests of its own (guest.rs), which run the bundled program `explore`,
//! and makes a [`Finding`] of what that printed and what both levels counted. Nothing in a finding is known
//! beforehand: where the measured values say otherwise than the textbooks, its sentence does too.

mod areas;
mod bits;
mod context_switch;
mod cow;
mod demand_paging;
mod error;
mod eviction;
mod fault_costs;
mod faults;
mod finding;
mod guest;
mod host_swap;
mod huge_pages;
mod isolation;
mod layout;
mod limits;
mod mapped_files;
mod overcommit;
mod page_tables;
mod recipes;
mod record;
mod replacement;
mod shared_memory;
mod stack;
mod swap;
mod swapping;
mod thrashing;
mod tlb;

use thiserror::Error;

use crate::compare::nearest::nearest;

pub use error::ExploreError;
pub use finding::{Cell, Finding};

/// An experiment, as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// What it is called.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Does it.
    pub run: fn() -> Result<Finding, ExploreError>,
}

/// All experiments, from what a process sees of memory to what it costs.
pub const EXPERIMENTS: &[Experiment] = &[
    new("isolation", "One address in several processes, and a wild access", isolation::run),
    new("page-tables", "What it costs to map a few pages of a vast address space", page_tables::run),
    new("huge-pages", "What pages of 2 MiB save, and what they do not", huge_pages::run),
    new("bits", "Present, accessed, dirty, writable, user, no-execute: set, cleared, acted on", bits::run),
    new("tlb", "How many pages the CPU finds without a walk", tlb::run),
    new(
        "context-switch",
        "What it costs to go on with another thread, and with another process",
        context_switch::run,
    ),
    new("faults", "Minor, major and invalid faults, as a program counts its own", faults::run),
    new("demand-paging", "What is loaded of a program before its first word", demand_paging::run),
    new("recipes", "What each page of a live process is made of", recipes::run),
    new("cow", "What a fork copies: nothing, until someone writes", cow::run),
    new("mapped-files", "Who sees what is written to a mapped file, and what reaches it", mapped_files::run),
    new("stack", "How a stack grows, and how far", stack::run),
    new("layout", "Where everything lies in an address space, and what holes cost", layout::run),
    new("shared-memory", "One frame in two processes", shared_memory::run),
    new("swap", "A program ten times as large as RAM", swap::run),
    new("replacement", "Which page goes: policies on famous strings, and live", replacement::run),
    new("eviction", "Which evictions write, and which just drop", eviction::run),
    new("swapping", "Pages one by one, or whole processes", swapping::run),
    new("thrashing", "Where more processes do less work", thrashing::run),
    new("limits", "A process that may have little RAM, and its neighbour", limits::run),
    new("host-swap", "A guest that believes all is in RAM, on a host that swaps", host_swap::run),
    new("overcommit", "Several guests whose RAM together the host does not have", overcommit::run),
    new("fault-costs", "How long a program waits for each kind of fault", fault_costs::run),
];

const fn new(
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Finding, ExploreError>,
) -> Experiment {
    Experiment { name, about, run }
}

/// A text that names no experiment.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("there is no experiment {name:?}{nearest}")]
pub struct UnknownExperiment {
    name: String,
    nearest: String,
}

/// The experiment of a name.
///
/// # Errors
/// There is none; the error names the nearest.
pub fn find(name: &str) -> Result<Experiment, UnknownExperiment> {
    let known = || EXPERIMENTS.iter().map(|experiment| experiment.name);
    let found = EXPERIMENTS.iter().find(|experiment| experiment.name == name);
    found.copied().ok_or_else(|| UnknownExperiment { name: name.to_owned(), nearest: nearest(name, known()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
        assert!(find("cow").is_ok());
        let said = find("cwo").map(|found| found.name).unwrap_err().to_string();
        assert!(said.contains("did you mean \"cow\"?"), "{said}");
    }
}
