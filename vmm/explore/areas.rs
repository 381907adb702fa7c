//! The areas of a live process, as the program `explore` tells them: what two experiments look at.

use super::ExploreError;
use super::guest::{Ran, explore, file, noise, run};
use crate::devices::Access;
use crate::machine::Bundled;

/// An area and where its pages are.
pub struct Area {
    pub start: u64,
    pub end: u64,
    pub rights: String,
    /// The file's path, `[heap]`, `[stack]`, `new memory`, or nothing.
    pub name: String,
    pub resident: u64,
    /// Recipe: zeros.
    pub zero: u64,
    /// Recipe: a page of the file.
    pub file: u64,
    /// Recipe: a slot of the swap disk.
    pub swap: u64,
}

impl Area {
    pub const fn pages(&self) -> u64 {
        (self.end - self.start) / 4096
    }

    /// A name for people.
    pub fn title(&self) -> String {
        let what = match (self.name.as_str(), self.rights.as_str()) {
            ("/bin/explore", "r-xp") => "code",
            ("/bin/explore", "rw-p") => "data",
            ("/bin/explore", _) => "constants",
            ("[heap]", _) => "heap",
            ("[stack]", _) => "stack",
            ("", _) => "memory without a file",
            ("/data", _) => "mapped file",
            (other, _) => other,
        };
        what.to_owned()
    }
}

/// The areas of a process that has memory in every state.
pub fn of_a_process() -> Result<Vec<Area>, ExploreError> {
    let (data, _) = file("/data", &noise(64), Access::ReadOnly)?;
    let ran = run(Bundled { files: vec![data], ..explore(&["areas", "/data"]) })?;
    parse(&ran)
}

fn parse(ran: &Ran) -> Result<Vec<Area>, ExploreError> {
    let area = |record: &super::record::Record| {
        Ok(Area {
            start: record.number("start")?,
            end: record.number("end")?,
            rights: record.text("rights")?.to_owned(),
            name: record.text("name")?.to_owned(),
            resident: record.number("resident")?,
            zero: record.number("zero")?,
            file: record.number("file")?,
            swap: record.number("swap")?,
        })
    };
    ran.all("area").map(area).collect()
}
