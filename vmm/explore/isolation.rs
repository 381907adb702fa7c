//! Address spaces: the same address, different frames; and a wild access.

use super::guest::{explore, run as run_guest};
use super::record::Record;
use super::{Cell, ExploreError, Finding};
use crate::report::Count;

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(explore(&["isolation"]))?;
    let processes: Vec<&Record> = ran.all("process").collect();
    let row = |record: &&Record| -> Result<Vec<Cell>, ExploreError> {
        Ok(vec![
            record.text("name")?.into(),
            record.text("address")?.into(),
            record.number("frame")?.into(),
            record.number("wrote")?.into(),
            record.number("found")?.into(),
            record.text("ended")?.into(),
        ])
    };
    Ok(Finding {
        experiment: "isolation",
        title: "Two children of a process write to the same address; then the first writes where nothing is \
                mapped."
            .to_owned(),
        columns: &["process", "address", "frame", "wrote", "found_later", "after_the_wild_write"],
        rows: processes.iter().map(row).collect::<Result<_, _>>()?,
        sentence: sentence(&processes)?,
    })
}

fn sentence(processes: &[&Record]) -> Result<String, ExploreError> {
    let (mut frames, mut addresses, mut undisturbed, mut killed) = (Vec::new(), Vec::new(), 0, Vec::new());
    for record in processes {
        frames.push(record.number("frame")?);
        addresses.push(record.text("address")?);
        undisturbed += u64::from(record.number("wrote")? == record.number("found")?);
        if record.text("ended")?.starts_with("SIG") {
            killed.push(record.text("name")?);
        }
    }
    frames.sort_unstable();
    frames.dedup();
    addresses.dedup();
    let all = processes.len();
    let place = match (addresses.len(), frames.len() == all) {
        (1, true) => format!("One address is {all} frames, one for each process"),
        (1, false) => format!("One address is only {} frames for {all} processes", frames.len()),
        _ => "The processes did not use the same address".to_owned(),
    };
    let content = if undisturbed == all as u64 {
        "each found what it had written itself".to_owned()
    } else {
        format!("only {} found what they had written themselves", Count(undisturbed))
    };
    let end = match killed.as_slice() {
        [] => "nobody was killed by the wild write".to_owned(),
        [one] => format!("the wild write killed the {one}, which made it, and nobody else"),
        several => format!("the wild write killed {}", several.join(" and ")),
    };
    Ok(format!("{place}; {content}; {end}."))
}
