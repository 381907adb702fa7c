//! The log: lines to the serial port, the first character telling the level.

use core::fmt::{self, Write};

use abi::port::SERIAL;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::arch::cpu;

const LINE: usize = 512;

/// One line, cut where it is too long: one string instruction sends it.
struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // The last byte is the line's end.
            if self.len < LINE - 1 {
                self.bytes[self.len] = if byte == b'\n' { b' ' } else { byte };
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Writes a line at once, whatever the level that is logged.
pub fn line(level: Level, text: fmt::Arguments<'_>) {
    let mark = match level {
        Level::Error => "E ",
        Level::Warn => "W ",
        Level::Info => "I ",
        Level::Debug => "D ",
        Level::Trace => "T ",
    };
    let mut line = Line { bytes: [0; LINE], len: 0 };
    // Writing to a line cannot fail.
    let _ = line.write_str(mark).and_then(|()| line.write_fmt(text));
    line.bytes[line.len] = b'\n';
    // SAFETY: the serial port takes bytes and does nothing else.
    unsafe { cpu::out_bytes(SERIAL, &line.bytes[..=line.len]) };
}

struct Serial;

impl Log for Serial {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            line(record.level(), *record.args());
        }
    }

    fn flush(&self) {}
}

/// Sends the kernel's log to the serial port.
pub fn init(level: LevelFilter) {
    log::set_max_level(level);
    // Fails only when there is a logger already.
    let _ = log::set_logger(&Serial);
}
