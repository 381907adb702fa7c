//! A running emulator, whichever it is.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Child;

/// A process and the host's ends of its machine's serial ports.
#[derive(Debug)]
pub struct Emulator {
    /// The process.
    pub child: Child,
    /// The machine's second serial port: frames to and from process 1.
    pub channel: File,
    /// The first one, and what the emulator itself has to say.
    pub console: Vec<File>,
}

/// A child's output as a file.
pub fn stream(output: Option<impl Into<OwnedFd>>) -> impl Iterator<Item = File> {
    output.map(|output| File::from(output.into())).into_iter()
}
