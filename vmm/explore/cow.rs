//! What a fork copies.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::memory::Size;
use crate::report::Count;

/// What the process has written to before.
const MEMORY: Size = Size::mib(1);

/// One fork and what came after it.
struct Fork {
    name: String,
    shared: u64,
    copied: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(explore(&["cow", &MEMORY.pages().to_string()]))?;
    let mut forks = Vec::new();
    let mut intact = true;
    for record in ran.all("fork") {
        intact &= record.says("parent_intact")?;
        forks.push(Fork {
            name: record.text("name")?.to_owned(),
            shared: record.number("shared")?,
            copied: record.number("copied")?,
        });
    }
    Ok(Finding {
        experiment: "cow",
        title: format!("A process with {MEMORY} of memory that it has written to forks."),
        columns: &["after_the_fork", "frames_shared", "frames_copied", "part_copied"],
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
            "A fork by itself copies next to nothing ({} frames), nor does a fork to run another program \
             ({}); writing copies, page by page ({})",
            copied(first),
            copied(exec),
            copied(most)
        )
    } else {
        format!(
            "Here a fork copied {} frames although the child only ended, and {} before it ran another \
             program",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(copied: [u64; 3], intact: bool) -> String {
        let forks = copied.map(|copied| Fork { name: String::new(), shared: 100, copied });
        sentence(&forks, intact)
    }

    #[test]
    fn the_sentence_follows_the_numbers() {
        let text = said([1, 100, 2], true);
        assert!(
            text.contains("copies next to nothing (1 of 100 frames)") && text.contains("never sees"),
            "{text}"
        );
        let text = said([90, 100, 80], false);
        assert!(
            text.starts_with("Here a fork copied 90 of 100 frames") && text.contains("must not"),
            "{text}"
        );
    }
}
