//! How a stack grows, and where that ends.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::report::Count;

/// A touch so far below the stack pointer.
struct Touch {
    below: u64,
    pages: u64,
    frames: u64,
    ended: String,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(explore(&["stack"]))?;
    let mut touches = Vec::new();
    for record in ran.all("touch") {
        touches.push(Touch {
            below: record.number("below")?,
            pages: record.number("pages")?,
            frames: record.number("frames")?,
            ended: record.text("ended")?.to_owned(),
        });
    }
    let row = |touch: &Touch| -> Vec<Cell> {
        let alive = |count| if touch.is_allowed() { Cell::Count(count) } else { Cell::Nothing };
        vec![kib(touch.below).into(), alive(touch.pages), alive(touch.frames), touch.ended.as_str().into()]
    };
    Ok(Finding {
        experiment: "stack",
        title: "A process touches its stack once, ever further below the stack pointer.".to_owned(),
        columns: &["touched_below", "pages_of_the_stack", "frames", "what_becomes_of_it"],
        rows: touches.iter().map(row).collect(),
        sentence: sentence(&touches),
    })
}

impl Touch {
    fn is_allowed(&self) -> bool {
        !self.ended.starts_with("SIG")
    }
}

fn kib(bytes: u64) -> String {
    match bytes {
        0 => "nothing".to_owned(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

fn sentence(touches: &[Touch]) -> String {
    let furthest = touches.iter().filter(|touch| touch.is_allowed()).max_by_key(|touch| touch.below);
    let refused = touches.iter().filter(|touch| !touch.is_allowed()).min_by_key(|touch| touch.below);
    let Some(furthest) = furthest else { return "No touch of the stack was allowed.".to_owned() };
    let grown = format!(
        "A touch {} below the stack pointer grew the stack to {} pages, only {} of which have frames",
        kib(furthest.below),
        Count(furthest.pages),
        Count(furthest.frames)
    );
    match refused {
        Some(refused) => {
            format!(
                "{grown}; one {} below ended the process with {}: there is a limit.",
                kib(refused.below),
                refused.ended
            )
        }
        None => format!("{grown}; there was no limit as far as this went."),
    }
}
