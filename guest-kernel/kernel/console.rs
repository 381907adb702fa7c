//! The program's standard streams: two virtio consoles, and whether they are terminals.

use abi::addr::Gpa;

use crate::drivers::console::{Input, Output};

/// The streams.
pub struct Consoles {
    /// Standard input; `None` is at its end.
    pub input: Option<Input>,
    /// Standard output and standard error; `None` swallows what is written.
    pub outputs: [Option<Output>; 2],
    /// Bit n: descriptor n is a terminal.
    pub terminals: u32,
    /// Rows and columns, 0 where unknown.
    pub window: (u16, u16),
}

impl Consoles {
    /// Sends bytes straight from frames to standard output, or to standard error.
    pub fn send(&mut self, error: bool, from: &[(Gpa, u32)]) {
        if let Some(output) = &mut self.outputs[usize::from(error)] {
            output.send(from);
        }
    }
}
