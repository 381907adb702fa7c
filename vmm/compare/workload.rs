//! The built-in workloads: those of the bundled program `work` (guest-kernel/programs/work.rs).

use super::nearest::nearest;

/// Their names, with what each shows.
pub const WORKLOADS: &[(&str, &str)] = &[
    ("chase", "a chain of loads in random order: latency"),
    ("update", "independent updates of random words"),
    ("sequential", "passes over all words: bandwidth"),
    ("sort", "a sort in place"),
    ("matmul", "a product of matrices: computing"),
    ("zipf", "a key-value store whose keys are used unevenly"),
    ("orderbook", "an exchange's order book in one array"),
];

/// Those that are measured if none is named.
pub const USUAL: [&str; 3] = ["chase", "sort", "matmul"];

/// The workload of this name.
///
/// # Errors
/// There is none; the message names the nearest.
pub fn named(name: &str) -> Result<&'static str, String> {
    let mut names = WORKLOADS.iter().map(|(name, _)| *name);
    let found = names.clone().find(|known| *known == name);
    found.ok_or_else(|| format!("there is no workload {name:?}{}", nearest(name, &mut names)))
}
