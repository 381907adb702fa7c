//! The journal of a comparison: a line of JSON for each sample, on the disk before the next one is taken.
//!
//! Whatever ends a comparison (Ctrl-C, a full disk, a power cut), what was measured before is kept, and the
//! same command goes on from there. A line that was cut off is no sample; it is taken out before the next one
//! is written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cell::{Cell, Sample, Series, Unmeasured};

/// What samples must share to be compared as one set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Bifold's version.
    pub version: String,
    /// Digest of the command itself.
    pub bifold: String,
    /// Digest of the program that is measured.
    pub program: String,
    /// The program's arguments; empty for built-in workloads.
    pub command: Vec<String>,
    /// The host's CPU.
    pub cpu: String,
    /// The host's kernel.
    pub kernel: String,
    /// How it translates guest-physical addresses.
    pub second_level: String,
    /// Guest RAM in bytes.
    pub ram: u64,
    /// The guest's swap disk in bytes; `null`: four times its RAM.
    pub swap: Option<u64>,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Header(Header),
    Sample {
        #[serde(flatten)]
        cell: Cell,
        #[serde(flatten)]
        sample: Sample,
    },
    Unmeasured {
        #[serde(flatten)]
        cell: Cell,
        #[serde(flatten)]
        why: Unmeasured,
    },
}

/// What a journal holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it was measured, and what.
    pub header: Header,
    /// A series for each cell, in the order in which they first appear.
    pub series: Vec<Series>,
}

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next line goes: after the last whole one.
    end: u64,
}

/// Why a journal is of no use.
#[derive(Debug, Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("{path}: {error}; give the path of a samples.jsonl that bifold compare has written")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The host's answer.
        error: io::Error,
    },
    /// It is something else.
    #[error("{path}:{line}: this is no line of a journal ({reason}); name another file")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Why not.
        reason: String,
    },
    /// It has samples that must not be mixed with new ones.
    #[error(
        "{path} has samples of another {what}: name another folder with --output, or remove this one to measure anew"
    )]
    Other {
        /// Which.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// Two at a time.
    #[error(
        "{0} is being written by another bifold compare: wait for it, or name another folder with --output"
    )]
    Busy(PathBuf),
    /// The disk.
    #[error(
        "cannot write {path}: {error}. What was measured before is in it; free some space and give the same command to go on"
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// The host's answer.
        error: io::Error,
    },
}

impl Record {
    /// Reads a journal.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, JournalError> {
        let unreadable = |error| JournalError::Unreadable { path: path.to_owned(), error };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        match parse(&text) {
            Ok((Some(header), series)) => Ok(Self { header, series }),
            Ok((None, _)) => Err(malformed(path, 1, "it has no header")),
            Err((line, reason)) => Err(malformed(path, line, &reason)),
        }
    }
}

fn malformed(path: &Path, line: usize, reason: &str) -> JournalError {
    JournalError::Malformed { path: path.to_owned(), line, reason: reason.to_owned() }
}

/// Reads the whole lines of a journal.
fn parse(text: &str) -> Result<(Option<Header>, Vec<Series>), (usize, String)> {
    let (mut header, mut series) = (None, Vec::<Series>::new());
    let mut places = BTreeMap::new();
    for (number, line) in text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate() {
        let line = serde_json::from_str(line).map_err(|error| (number + 1, error.to_string()))?;
        let mut place_of = |cell: Cell| {
            *places.entry(cell.clone()).or_insert_with(|| {
                series.push(Series::new(cell));
                series.len() - 1
            })
        };
        match line {
            Line::Header(read) => header = Some(read),
            Line::Sample { cell, sample } => {
                let place = place_of(cell);
                series[place].samples.push(sample);
                series[place].unmeasured = None;
            }
            Line::Unmeasured { cell, why } => {
                let place = place_of(cell);
                series[place].unmeasured = Some(why);
            }
        }
    }
    Ok((header, series))
}

impl Journal {
    /// Opens the journal at `path` or starts one, and returns what it holds already.
    ///
    /// # Errors
    /// Its samples are not of the same things, or the disk has none of it.
    pub fn open(path: &Path, header: &Header) -> Result<(Self, Vec<Series>), JournalError> {
        let write = |error| JournalError::Write { path: path.to_owned(), error };
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(write)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Busy(path.to_owned()))?;
        let text = fs::read_to_string(path)
            .map_err(|error| JournalError::Unreadable { path: path.to_owned(), error })?;
        let (found, series) = parse(&text).map_err(|(line, reason)| malformed(path, line, &reason))?;
        let end = text.rfind('\n').map_or(0, |at| at + 1) as u64;
        let mut journal = Self { path: path.to_owned(), file, end };
        match found {
            Some(found) => journal.check(&found, header)?,
            None => journal.append(&Line::Header(header.clone()))?,
        }
        Ok((journal, series))
    }

    fn check(&self, found: &Header, wanted: &Header) -> Result<(), JournalError> {
        let differs = [
            ("build of bifold", found.bifold != wanted.bifold || found.version != wanted.version),
            ("program", found.program != wanted.program || found.command != wanted.command),
            ("CPU", found.cpu != wanted.cpu),
            ("kernel", found.kernel != wanted.kernel || found.second_level != wanted.second_level),
            ("--ram or --swap", found.ram != wanted.ram || found.swap != wanted.swap),
        ];
        let other = differs.into_iter().find(|(_, differs)| *differs);
        other.map_or(Ok(()), |(what, _)| Err(JournalError::Other { path: self.path.clone(), what }))
    }

    /// Keeps a sample.
    ///
    /// # Errors
    /// It cannot be written; what was there before is unharmed.
    pub fn sample(&mut self, cell: &Cell, sample: &Sample) -> Result<(), JournalError> {
        self.append(&Line::Sample { cell: cell.clone(), sample: sample.clone() })
    }

    /// Keeps why there is no sample.
    ///
    /// # Errors
    /// It cannot be written; what was there before is unharmed.
    pub fn unmeasured(&mut self, cell: &Cell, why: &Unmeasured) -> Result<(), JournalError> {
        self.append(&Line::Unmeasured { cell: cell.clone(), why: why.clone() })
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        let written = self.try_append(line);
        if written.is_err() {
            // Of a line that does not fit, nothing stays. If that fails, too, the next opening takes it out.
            let _ = self.file.set_len(self.end);
        }
        written.map_err(|error| JournalError::Write { path: self.path.clone(), error })
    }

    fn try_append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
