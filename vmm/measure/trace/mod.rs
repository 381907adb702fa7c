//! Traces: one level's faults, or references, in their order.
//!
//! Two forms. The binary one ([`write`], [`read`]) holds all of an [`Event`] in about 8 bytes and says at its end how
//! many there were, so that a recording that was cut short is found out. The plain one ([`text`]) is for strings that
//! people write, and holds page numbers alone.
//!
//! ```text
//! header   "bifoldtr", version u8, log2 of the page size u8, level u8, five bytes 0
//! event    tag u8: bits 0-1 cause, bits 2-6 source, bit 7: the address space is not the event's before
//!          varint  nanoseconds since the event before, zigzag (several CPUs record out of order)
//!          varint  address space, if bit 7
//!          varint  page number less that of the event before, zigzag
//!          varint  nanoseconds to serve it
//! end      tag 255, varint number of events
//! ```
//!
//! A varint is LEB128: seven bits a byte, low ones first, the top bit says that more follow. Differences wrap at 64 bits.

mod read;
mod text;
mod varint;
mod write;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use thiserror::Error;

pub use read::TraceReader;
pub use text::TextReader;
pub use write::TraceWriter;

const MAGIC: [u8; 8] = *b"bifoldtr";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const END: u8 = 0xff;

/// Which level of paging a trace is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TraceLevel {
    /// The guest kernel's faults.
    Guest = 0,
    /// The host's faults.
    Host = 1,
}

/// What all of a trace has in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceHeader {
    /// Whose faults.
    pub level: TraceLevel,
    /// log2 of the bytes of a page.
    pub page_shift: u8,
}

/// What the program did with the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// It read it.
    Read = 0,
    /// It wrote to it.
    Write = 1,
    /// It executed it.
    Execute = 2,
}

/// Where a page came from, at either level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TraceSource {
    /// A zeroed frame.
    Zero = 0,
    /// A zeroed frame for a grown stack.
    Stack = 1,
    /// In RAM already: only the mapping or a right was missing.
    Resident = 2,
    /// A copy of a shared frame.
    Copy = 3,
    /// A file: the guest's file disk, or the host's store on a disk.
    File = 4,
    /// The guest's swap disk.
    Swap = 5,
    /// The host was about to evict it.
    Rescued = 6,
    /// The host's store had it as a word that fills it.
    SameFilled = 7,
    /// The host's store had it in memory.
    Memory = 8,
}

impl TraceSource {
    const ALL: [Self; 9] = [
        Self::Zero,
        Self::Stack,
        Self::Resident,
        Self::Copy,
        Self::File,
        Self::Swap,
        Self::Rescued,
        Self::SameFilled,
        Self::Memory,
    ];
}

/// A page, for as long as its address space lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TracePage {
    /// The guest's address space; 0 for the host, whose pages are guest frames.
    pub space: u32,
    /// Guest-virtual page number, or guest frame number.
    pub number: u64,
}

/// One fault, or reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When it happened, in nanoseconds since the start of the run.
    pub time_ns: u64,
    /// What the program did.
    pub cause: Cause,
    /// To which page.
    pub page: TracePage,
    /// Where that came from.
    pub source: TraceSource,
    /// How long it took to serve, in nanoseconds.
    pub served_ns: u64,
}

/// Why a trace cannot be read.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file system's reason.
    #[error("cannot be read: {0}; name a trace file that you may read")]
    Io(#[from] io::Error),
    /// It ends within, or without its end.
    #[error("truncated at byte {0}: the recording was cut short; record it again")]
    Truncated(u64),
    /// Of neither form.
    #[error("neither a recorded trace nor a list of page numbers; name a file that is one of the two")]
    NoTrace,
    /// Of another time.
    #[error("trace version {0}, but this bifold reads version {VERSION}; record it again")]
    Version(u8),
    /// Bytes that no writer writes.
    #[error("not a sound trace: {what} at byte {at}; record it again")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A text that is not a list of page numbers.
    #[error("line {line}: {word:?} is not a page number; write decimal numbers, one a line or with commas")]
    Word {
        /// Counted from 1.
        line: u64,
        /// The word, or its beginning.
        word: String,
    },
}

/// A use of a page: all that a replay needs.
pub type PageUse = (TracePage, Cause);

/// A trace in either form, read as a stream of [`PageUse`]s.
#[derive(Debug)]
pub enum Trace<R> {
    /// The binary form.
    Binary(TraceReader<R>),
    /// The plain form.
    Text(TextReader<R>),
}

impl Trace<BufReader<File>> {
    /// Opens a trace file.
    ///
    /// # Errors
    /// It cannot be read, or its header is not sound.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::new(BufReader::with_capacity(1 << 16, File::open(path)?))
    }
}

impl<R: BufRead> Trace<R> {
    /// Tells the form by the first bytes.
    ///
    /// # Errors
    /// It cannot be read, or its header is not sound.
    pub fn new(mut from: R) -> Result<Self, TraceError> {
        // No text of page numbers starts with this letter, so one byte, which any reader has, is enough.
        let is_binary = from.fill_buf()?.first() == MAGIC.first();
        Ok(if is_binary { Self::Binary(TraceReader::new(from)?) } else { Self::Text(TextReader::new(from)) })
    }
}

impl<R: BufRead> Iterator for Trace<R> {
    type Item = Result<PageUse, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Binary(events) => Some(events.next()?.map(|event| (event.page, event.cause))),
            Self::Text(pages) => Some(pages.next()?.map(|page| (page, Cause::Read))),
        }
    }
}

#[cfg(test)]
mod tests;
