//! Memory that two processes share, and memory that they do not.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};

/// A page that two processes have.
struct Page {
    name: String,
    same_address: bool,
    frames: [u64; 2],
    child_saw: bool,
    parent_saw: bool,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(explore(&["shared-memory"]))?;
    let mut pages = Vec::new();
    for record in ran.all("page") {
        pages.push(Page {
            name: record.text("name")?.to_owned(),
            same_address: record.says("same_address")?,
            frames: [record.number("frame")?, record.number("other_frame")?],
            child_saw: record.number("child_saw")? == 1,
            parent_saw: record.number("parent_saw")? == 1,
        });
    }
    let word = |value: bool| if value { "yes" } else { "no" };
    let row = |page: &Page| -> Vec<Cell> {
        vec![
            page.name.as_str().into(),
            word(page.same_address).into(),
            page.frames[0].into(),
            page.frames[1].into(),
            word(page.child_saw).into(),
            word(page.parent_saw).into(),
        ]
    };
    Ok(Finding {
        experiment: "shared-memory",
        title: "Parent and child each write to a page that both have, and look for what the other wrote."
            .to_owned(),
        columns: &[
            "page_by",
            "same_address",
            "parents_frame",
            "childs_frame",
            "child_sees_parent",
            "parent_sees_child",
        ],
        rows: pages.iter().map(row).collect(),
        sentence: sentence(&pages),
    })
}

fn sentence(pages: &[Page]) -> String {
    let names = |wanted: bool| {
        let some = pages.iter().filter(|page| (page.frames[0] == page.frames[1]) == wanted);
        some.map(|page| page.name.as_str()).collect::<Vec<_>>().join("; ")
    };
    let consistent =
        pages.iter().all(|page| [page.child_saw, page.parent_saw] == [page.frames[0] == page.frames[1]; 2]);
    if !consistent {
        return "What the processes saw of each other does not follow from their frames, which it must."
            .to_owned();
    }
    let elsewhere = pages.iter().any(|page| page.frames[0] == page.frames[1] && !page.same_address);
    let elsewhere = if elsewhere { ", wherever each has it in its address space" } else { "" };
    format!(
        "Who has the same frame sees what the other writes{elsewhere} ({}); who has not, does not ({}).",
        names(true),
        names(false)
    )
}
