//! The guest kernel's log, line by line into ours.

use std::io::{self, Write};

use log::Level;

/// The target of the guest's lines, for `RUST_LOG`.
pub const TARGET: &str = "guest";
/// A longer line is cut: the guest must not fill the host's RAM.
const MAX_LINE: usize = 4096;

/// Collects the serial port's bytes into lines and logs each with target `guest`. A line starts with its level:
/// "E ", "W ", "I ", "D " or "T "; one that does not is logged as a warning, because our kernel writes no such line.
#[derive(Default)]
pub struct GuestLog {
    line: Vec<u8>,
}

impl GuestLog {
    fn end_line(&mut self) {
        // No control characters: they would be commands to the terminal.
        let line: String =
            String::from_utf8_lossy(&self.line).chars().filter(|char| !char.is_control()).collect();
        let (level, text) = split_level(line.trim_end());
        if !text.is_empty() {
            log::log!(target: TARGET, level, "{text}");
        }
        self.line.clear();
    }
}

impl Write for GuestLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == MAX_LINE {
                self.end_line();
            }
        }
        Ok(bytes.len())
    }

    /// Does nothing: a line is logged when it is complete.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for GuestLog {
    /// Half a line is all that a kernel which died in the middle of one had to say.
    fn drop(&mut self) {
        self.end_line();
    }
}

/// The level and the text of a line.
fn split_level(line: &str) -> (Level, &str) {
    let level = match line.get(..2) {
        Some("E ") => Level::Error,
        Some("W ") => Level::Warn,
        Some("I ") => Level::Info,
        Some("D ") => Level::Debug,
        Some("T ") => Level::Trace,
        _ => return (Level::Warn, line),
    };
    (level, &line[2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_into_level_and_text() {
        assert_eq!(split_level("E out of swap"), (Level::Error, "out of swap"));
        assert_eq!(split_level("T "), (Level::Trace, ""));
        for odd in ["", "E", "Error", "é é"] {
            assert_eq!(split_level(odd), (Level::Warn, odd));
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut log = GuestLog::default();
        log.write_all(&vec![b'x'; 3 * MAX_LINE + 5]).expect("a log takes everything");
        assert_eq!(log.line.len(), 5);
        log.write_all(b"\n\n").expect("a log takes everything");
        assert!(log.line.is_empty());
    }
}
