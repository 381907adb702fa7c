//! The host's trace: each fault that was served, for `bifold replay`.
//!
//! The fault thread puts events into a buffer, and hands it over when it is full; another thread encodes and writes them. So a
//! fault costs a copy of 48 bytes. Where the disk cannot keep up, the fault thread waits rather than lose events.

use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::Shared;
use super::stats::Source;
use super::uffd::Fault;
use crate::measure::trace::{Cause, Event, TraceHeader, TraceLevel, TracePage, TraceSource, TraceWriter};

/// A file that is open, and its path.
pub type TraceFile = (PathBuf, File);

/// Events that are handed over at once.
const BATCH: usize = 4096;
/// Buffers that may wait to be written.
const WAITING: usize = 16;

/// A new trace: its two ends.
pub fn start(file: TraceFile) -> (Recorder, Writer) {
    let (to, batches) = sync_channel(WAITING);
    let recorder = Recorder { started: Instant::now(), events: Vec::with_capacity(BATCH), to };
    (recorder, Writer { file, batches })
}

/// The end of the fault thread.
pub struct Recorder {
    started: Instant,
    events: Vec<Event>,
    to: SyncSender<Vec<Event>>,
}

impl Recorder {
    /// Records a fault that was read at `read` and took `served` to answer.
    pub fn record(&mut self, shared: &Shared, fault: Fault, source: Source, read: Instant, served: Duration) {
        let frame = shared.ram.index_of_hva(fault.page).and_then(|frame| shared.ram.gfn(frame));
        let Some(frame) = frame else { return };
        self.events.push(Event {
            time_ns: (read.duration_since(self.started) + served).as_nanos() as u64,
            cause: if fault.write { Cause::Write } else { Cause::Read },
            page: TracePage { space: 0, number: frame.0 },
            source: source.into(),
            served_ns: served.as_nanos() as u64,
        });
        if self.events.len() == BATCH {
            self.hand_over(Vec::with_capacity(BATCH));
        }
    }

    fn hand_over(&mut self, next: Vec<Event>) {
        // Nobody takes them any more if the file could not be written, which was said then.
        let _ = self.to.send(mem::replace(&mut self.events, next));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.hand_over(Vec::new());
    }
}

impl From<Source> for TraceSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Zero => Self::Zero,
            Source::Rescued => Self::Rescued,
            Source::SameFilled => Self::SameFilled,
            Source::Memory => Self::Memory,
            Source::File => Self::File,
        }
    }
}

/// The end of the thread that writes.
pub struct Writer {
    file: TraceFile,
    batches: Receiver<Vec<Event>>,
}

impl Writer {
    /// Writes until the recorder is gone.
    pub fn run(self) {
        let (path, file) = self.file;
        if let Err(error) = write(file, &self.batches) {
            let path = path.display();
            log::error!(
                "the trace ends here: {path}: {error}; make room, or name another file with --host-trace"
            );
        }
    }
}

fn write(file: File, batches: &Receiver<Vec<Event>>) -> io::Result<()> {
    let mut writer = TraceWriter::new(file, TraceHeader { level: TraceLevel::Host, page_shift: 12 })?;
    for event in batches.iter().flatten() {
        writer.record(&event)?;
    }
    writer.finish()
}
