//! What process 1 has to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole of it, as JSON at [`Spec::PATH`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Kernel modules, in the order in which they are loaded.
    pub modules: Vec<Module>,
    /// What was asked of the kernel's command line; it gives fewer without failing.
    pub huge_pages: Vec<HugePages>,
    /// What to run, one after the other. All are run; the first failure's status counts.
    pub commands: Vec<Command>,
    /// Environment of every command; nothing else is in it.
    pub environment: Vec<(String, String)>,
    /// Working directory of every command.
    pub directory: PathBuf,
    /// Files to send back if a command writes them.
    pub outputs: Vec<PathBuf>,
    /// Whether the lab sends standard input; without it the commands' input is empty.
    pub stdin: bool,
    /// Whether to send what each command took.
    pub count: bool,
}

impl Spec {
    /// Where it is in the initrd.
    pub const PATH: &str = "/lab/spec.json";
    /// Where a command that is counted leaves its report.
    pub const REPORT: &str = "/lab/report.json";
    /// The serial port that carries frames; the first is the kernel's console.
    pub const CHANNEL: &str = "/dev/ttyS1";
}

/// One kernel module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Module {
    /// Its file, `.ko` or compressed as the kernel takes it.
    pub path: PathBuf,
    /// Its parameters, such as `npt=0`.
    pub parameters: String,
}

/// Huge pages of one size that are to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HugePages {
    /// Their size.
    pub kib: u64,
    /// How many.
    pub count: u32,
}

/// One program to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Command {
    /// Said on standard error before it starts.
    pub title: Option<String>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
}
