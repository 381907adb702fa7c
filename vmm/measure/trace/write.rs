//! The writer of the binary form.

use std::io::{self, BufWriter, Write};

use super::varint::{LONGEST, put, zigzag};
use super::{END, Event, HEADER_BYTES, MAGIC, TraceHeader, TracePage, VERSION};

/// A tag and four varints.
const LONGEST_EVENT: usize = 1 + 4 * LONGEST;

/// Writes events as they come, a few dozen instructions each, through a buffer of 64 KiB.
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    to: BufWriter<W>,
    time_ns: u64,
    page: TracePage,
    events: u64,
}

impl<W: Write> TraceWriter<W> {
    /// Starts a trace.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn new(to: W, header: TraceHeader) -> io::Result<Self> {
        let mut to = BufWriter::with_capacity(1 << 16, to);
        let mut bytes = [0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        bytes[MAGIC.len()..MAGIC.len() + 3].copy_from_slice(&[
            VERSION,
            header.page_shift,
            header.level as u8,
        ]);
        to.write_all(&bytes)?;
        Ok(Self { to, time_ns: 0, page: TracePage { space: 0, number: 0 }, events: 0 })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        let mut bytes = [0; LONGEST_EVENT];
        let other_space = event.page.space != self.page.space;
        bytes[0] = event.cause as u8 | (event.source as u8) << 2 | u8::from(other_space) << 7;
        let mut length = 1;
        let mut add = |number| length += put(&mut bytes[length..], number);
        add(zigzag(event.time_ns.wrapping_sub(self.time_ns) as i64));
        if other_space {
            add(event.page.space.into());
        }
        add(zigzag(event.page.number.wrapping_sub(self.page.number) as i64));
        add(event.served_ns);
        self.to.write_all(&bytes[..length])?;
        (self.time_ns, self.page) = (event.time_ns, event.page);
        self.events += 1;
        Ok(())
    }

    /// Writes the end and what is still in the buffer. A trace without it counts as cut short.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let mut bytes = [END; 1 + LONGEST];
        let length = 1 + put(&mut bytes[1..], self.events);
        self.to.write_all(&bytes[..length])?;
        self.to.flush()
    }
}
