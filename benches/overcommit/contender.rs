//! Who is compared: the same program, with as much memory for its pages, under different pagers.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::cgroup::Cgroup;
use crate::{MIB, Options};

/// The program, guest-kernel/programs/overcommit.rs.
const PROGRAM: &str = env!("BIFOLD_PROGRAM_OVERCOMMIT");
/// What guest RAM has beyond the program's memory, so that the guest itself never pages.
const SPARE: u64 = 128;

/// Where pages go that are not resident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Memory: the host's swap is zram with LZ4, Bifold's store is in memory.
    Memory,
    /// A disk: the host's swap is a file, Bifold's store is one.
    Disk,
}

impl Medium {
    pub const ALL: [Self; 2] = [Self::Memory, Self::Disk];
}

/// Who pages, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contender {
    pub name: &'static str,
    pub medium: Medium,
    /// The options of `bifold run`; `None`: the program runs natively, in a cgroup.
    options: Option<&'static [&'static str]>,
}

/// All of them, the baseline of each medium first.
pub const ALL: &[Contender] = &[
    contender("native-zram", Medium::Memory, None),
    contender("kernel-zram", Medium::Memory, Some(&["--host-pager=kernel"])),
    contender("uffd-memory", Medium::Memory, Some(&["--store=memory"])),
    contender("uffd-memory-thp", Medium::Memory, Some(&["--store=memory", "--backing=thp"])),
    contender(
        "uffd-memory-keep",
        Medium::Memory,
        Some(&["--store=memory", "--backing=thp", "--huge-swap=keep"]),
    ),
    contender("native-file", Medium::Disk, None),
    contender("kernel-file", Medium::Disk, Some(&["--host-pager=kernel"])),
    contender("uffd-file", Medium::Disk, Some(&[])),
    contender("uffd-file-thp", Medium::Disk, Some(&["--backing=thp"])),
];

const fn contender(
    name: &'static str,
    medium: Medium,
    options: Option<&'static [&'static str]>,
) -> Contender {
    Contender { name, medium, options }
}

/// One pass of one run.
#[derive(Debug, Deserialize)]
pub struct Pass {
    pub pass: String,
    pub visits: u64,
    pub ns: u64,
}

/// One run.
#[derive(Deserialize)]
pub struct Measured {
    pub passes: Vec<Pass>,
    /// The most of guest RAM that was resident, in MiB; `None` natively, where the cgroup sees to it.
    #[serde(skip)]
    pub peak: Option<u64>,
}

impl Contender {
    /// Runs the program once.
    pub fn run(&self, options: &Options) -> Result<Measured, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let report = folder.path().join("report.json");
        let sizes = [options.size, options.budget].map(|mib| format!("{mib}M"));
        let group = self.options.is_none().then(|| Cgroup::new(options.budget * MIB)).transpose()?;
        let mut command =
            group.as_ref().map_or_else(|| self.guest(options, &report), |group| group.command(PROGRAM));
        let output = command.args(sizes).output().map_err(|error| format!("{}: {error}", self.name))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim()));
        }
        let mut measured: Measured =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        if self.options.is_some() {
            let report = fs::read(report).map_err(|error| error.to_string())?;
            let report: Value = serde_json::from_slice(&report).map_err(|error| error.to_string())?;
            measured.peak = report["host"]["resident_peak"].as_u64().map(|pages| pages / 256);
        }
        Ok(measured)
    }

    /// Guest RAM holds all of the program, in huge pages of the guest's: after the first touch only the host
    /// pages.
    fn guest(&self, options: &Options, report: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
        command.args(["run", "--guest-page=2m", "--swap=4M", "--timeout=600"]);
        command.arg("--json").arg(report).arg(format!("--ram={}M", options.size + SPARE));
        command.arg(format!("--host-ram={}M", options.budget));
        command.args(self.options.unwrap_or_default()).args(["--", PROGRAM]);
        command
    }
}
