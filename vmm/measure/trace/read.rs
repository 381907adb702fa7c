//! The reader of the binary form. It trusts nothing: any bytes give events or an error, in constant memory.

use std::io::{self, BufRead};

use super::varint::{LONGEST, unzigzag};
use super::{
    Cause, END, Event, HEADER_BYTES, MAGIC, TraceError, TraceHeader, TraceLevel, TracePage, TraceSource,
    VERSION,
};

/// A stream of the events of a trace. After an error, or the end, there are no more.
#[derive(Debug)]
pub struct TraceReader<R> {
    from: Bytes<R>,
    header: TraceHeader,
    time_ns: u64,
    page: TracePage,
    events: u64,
    ended: bool,
}

impl<R: BufRead> TraceReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It cannot be read, or the header is not sound.
    pub fn new(from: R) -> Result<Self, TraceError> {
        let mut from = Bytes { from, at: 0 };
        for expected in MAGIC {
            if from.byte().ok() != Some(expected) {
                return Err(TraceError::NoTrace);
            }
        }
        let mut rest = [0; HEADER_BYTES - MAGIC.len()];
        for byte in &mut rest {
            *byte = from.byte()?;
        }
        let [version, page_shift, level, ..] = rest;
        if version != VERSION {
            return Err(TraceError::Version(version));
        }
        let level = match level {
            0 => TraceLevel::Guest,
            1 => TraceLevel::Host,
            _ => return Err(from.corrupt("an unknown level")),
        };
        if u32::from(page_shift) >= u64::BITS {
            return Err(from.corrupt("an impossible page size"));
        }
        let header = TraceHeader { level, page_shift };
        Ok(Self {
            from,
            header,
            time_ns: 0,
            page: TracePage { space: 0, number: 0 },
            events: 0,
            ended: false,
        })
    }

    /// What all events have in common.
    pub const fn header(&self) -> TraceHeader {
        self.header
    }

    /// The next event; `None` at the end.
    fn event(&mut self) -> Result<Option<Event>, TraceError> {
        let tag = self.from.byte()?;
        if tag == END {
            return self.end();
        }
        let cause = match tag & 3 {
            0 => Cause::Read,
            1 => Cause::Write,
            2 => Cause::Execute,
            _ => return Err(self.from.corrupt("an unknown cause")),
        };
        let source = TraceSource::ALL.get(usize::from(tag >> 2 & 0x1f)).copied();
        let source = source.ok_or_else(|| self.from.corrupt("an unknown source"))?;
        self.time_ns = self.time_ns.wrapping_add(unzigzag(self.from.varint()?) as u64);
        if tag & 0x80 != 0 {
            let space = u32::try_from(self.from.varint()?);
            self.page.space = space.map_err(|_| self.from.corrupt("an impossible address space"))?;
        }
        self.page.number = self.page.number.wrapping_add(unzigzag(self.from.varint()?) as u64);
        let served_ns = self.from.varint()?;
        self.events += 1;
        Ok(Some(Event { time_ns: self.time_ns, cause, page: self.page, source, served_ns }))
    }

    fn end(&mut self) -> Result<Option<Event>, TraceError> {
        if self.from.varint()? != self.events {
            return Err(self.from.corrupt("a wrong number of events"));
        }
        if !self.from.is_empty()? {
            return Err(self.from.corrupt("more after the end"));
        }
        Ok(None)
    }
}

impl<R: BufRead> Iterator for TraceReader<R> {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.event().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event
    }
}

/// A source of bytes that knows where it is.
#[derive(Debug)]
struct Bytes<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Bytes<R> {
    fn is_empty(&mut self) -> io::Result<bool> {
        Ok(self.from.fill_buf()?.is_empty())
    }

    fn byte(&mut self) -> Result<u8, TraceError> {
        let Some(&byte) = self.from.fill_buf()?.first() else { return Err(TraceError::Truncated(self.at)) };
        self.from.consume(1);
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, TraceError> {
        let mut number = 0;
        for index in 0..LONGEST {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if index == LONGEST - 1 && byte > 1 {
                break;
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.corrupt("a number of more than 64 bits"))
    }

    fn corrupt(&self, what: &'static str) -> TraceError {
        TraceError::Corrupt { what, at: self.at }
    }
}
