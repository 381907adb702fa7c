//! The trace port: the guest kernel's record of its faults goes to a file.

use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;

use abi::layout::TRACE;
use abi::stats::Source;
use abi::trace::{RECORDS, Record};
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryMmap};

use super::BusDevice;
use crate::measure::trace::{Cause, Event, TraceHeader, TraceLevel, TracePage, TraceSource, TraceWriter};

/// Takes the records out of guest RAM when the kernel writes to the port, and once more at the end of the run.
pub struct TracePort {
    ram: GuestMemoryMmap,
    /// `None` once it could not be written.
    writer: Option<TraceWriter<File>>,
    path: PathBuf,
    tsc_khz: u64,
    /// The time-stamp counter at the start of the run.
    started: Option<u64>,
}

impl TracePort {
    /// How many ports it has.
    pub const PORTS: u64 = 4;

    /// A port whose trace goes to `file`, which is at `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(ram: GuestMemoryMmap, (path, file): (PathBuf, File), tsc_khz: u64) -> io::Result<Self> {
        let header = TraceHeader { level: TraceLevel::Guest, page_shift: 12 };
        let writer = TraceWriter::new(file, header)?;
        Ok(Self { ram, writer: Some(writer), path, tsc_khz: tsc_khz.max(1), started: None })
    }

    fn drain(&mut self) {
        let count = self.ram.read_obj::<u64>(GuestAddress(TRACE.0)).unwrap_or(0).min(RECORDS as u64);
        for number in 1..=count {
            let at = GuestAddress(TRACE.0 + number * size_of::<Record>() as u64);
            let Ok(Wire(record)) = self.ram.read_obj::<Wire>(at) else { return };
            let Some(event) = self.event(&record) else { continue };
            if let Some(writer) = &mut self.writer
                && let Err(error) = writer.record(&event)
            {
                self.give_up(&error);
            }
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        let path = self.path.display();
        log::error!("the trace ends here: {path}: {error}; make room, or name another file with --trace");
        self.writer = None;
    }

    /// `None` for a record that no kernel of ours writes.
    fn event(&mut self, record: &Record) -> Option<Event> {
        let started = *self.started.get_or_insert(record.time);
        let ns = |cycles: u64| (u128::from(cycles) * 1_000_000 / u128::from(self.tsc_khz)) as u64;
        let cause = *[Cause::Read, Cause::Write, Cause::Execute].get(usize::from(record.cause))?;
        let source = match *Source::ALL.get(usize::from(record.source))? {
            Source::Zero => TraceSource::Zero,
            Source::Stack => TraceSource::Stack,
            Source::Resident => TraceSource::Resident,
            Source::Copy => TraceSource::Copy,
            Source::File => TraceSource::File,
            Source::Swap => TraceSource::Swap,
        };
        let page = TracePage { space: record.space, number: record.page };
        let (time_ns, served_ns) = (ns(record.time.saturating_sub(started)), ns(record.served));
        Some(Event { time_ns, cause, page, source, served_ns })
    }
}

impl BusDevice for TracePort {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write(&mut self, _offset: u64, _data: &[u8]) {
        self.drain();
    }
}

impl Drop for TracePort {
    /// The run is over: what the kernel had not handed over, and the trace's end.
    fn drop(&mut self) {
        self.drain();
        if let Some(Err(error)) = mem::take(&mut self.writer).map(TraceWriter::finish) {
            self.give_up(&error);
        }
    }
}

/// [`Record`] as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire(Record);

// SAFETY: `Record` is `repr(C)`, all integers without padding, so any bytes make a valid one.
unsafe impl ByteValued for Wire {}
