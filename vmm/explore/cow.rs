//! What a fork copies.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::report::Count;

/// One fork and what came after it.
struct Fork {
    name: String,
    shared: u64,
    copied: u64,
    ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(explore(&["cow", "256"]))?;
    let mut forks = Vec::new();
    let mut intact = true;
    for record in ran.all("fork") {
        intact &= record.says("parent_intact")?;
        forks.push(Fork {
            name: record.text("name")?.to_owned(),
            shared: record.number("shared")?,
            copied: record.number("copied")?,
            ns: record.number("fork_ns")?,
        });
    }
    Ok(Finding {
        experiment: "cow",
        title: "A process with 1 MiB of written memory forks, five times.".to_owned(),
        columns: &["after_the_fork", "frames_shared", "frames_copied", "part_copied", "fork_ns"],
        rows: forks.iter().map(row).collect(),
        sentence: sentence(&forks, intact),
    })
}

fn row(fork: &Fork) -> Vec<Cell> {
    let part = fork.copied as f64 / fork.shared.max(1) as f64;
    vec![
        fork.name.as_str().into(),
        (fork.shared - fork.copied.min(fork.shared)).into(),
        fork.copied.into(),
        Cell::Part(part),
        Cell::Nanos(fork.ns),
    ]
}

fn sentence(forks: &[Fork], intact: bool) -> String {
    let [first, .., most, exec] = forks else {
        return "There were too few forks to say anything.".to_owned();
    };
    let copied = |fork: &Fork| format!("{} of {}", Count(fork.copied), Count(fork.shared));
    let little = |fork: &Fork| fork.copied * 10 <= fork.shared;
    let forks = if little(first) && little(exec) {
        format!(
            "A fork by itself copies next to nothing ({} frames), nor does a fork to run another program ({}); \
             writing copies, page by page ({})",
            copied(first),
            copied(exec),
            copied(most)
        )
    } else {
        format!(
            "Here a fork copied {} frames although the child only ended, and {} before it ran another program",
            copied(first),
            copied(exec)
        )
    };
    let parent = if intact {
        "never sees what the child writes"
    } else {
        "saw what the child wrote, which it must not"
    };
    format!("{forks}; the parent {parent}.")
}
