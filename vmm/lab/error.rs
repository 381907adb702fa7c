//! What can go wrong before, under and around a job. A job's own failure is an exit status, not an error.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::memory::Size;

/// Why the lab gives no result.
#[derive(Debug, Error)]
pub enum LabError {
    /// A part is neither on this machine nor to be had.
    #[error("the lab has no {part}: {reason}; install it with: apt-get install {packages}")]
    Missing {
        /// What it is.
        part: &'static str,
        /// Why it could not be fetched.
        reason: String,
        /// What to install.
        packages: String,
    },
    /// A file or folder refused.
    #[error("cannot {action} {path}: {error}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// A tool that the lab runs could not be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// The tool.
        program: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The tests could not be built.
    #[error("cargo cannot build the tests: see its message above")]
    Build,
    /// Neither variable that leads to the cache folder is set.
    #[error("the lab needs a cache folder: set XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// The job would not fit.
    #[error("{given} is too little memory for this job in the lab: give --memory {}M or more", needed.bytes() >> 20)]
    Memory {
        /// What the machine has.
        given: Size,
        /// What it takes at least.
        needed: Size,
    },
    /// The lab's process 1 gave up.
    #[error("the lab cannot run the job: {0}")]
    Failure(String),
    /// The emulator ended, or what it sent was nonsense.
    #[error("the lab ended without a result ({how}): {last}")]
    Ended {
        /// The emulator's exit.
        how: String,
        /// The last that was heard of it.
        last: String,
    },
    /// What should be a baseline is none.
    #[error("{path} is no baseline: {reason}; make one with --save")]
    Baseline {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// This process's output was closed while the job wrote.
    #[error("standard output was closed while the job in the lab still wrote to it")]
    NoReader,
    /// The job took too long.
    #[error(
        "the lab was ended after {seconds} s without a result: give a longer --timeout if it only needs time"
    )]
    Timeout {
        /// What it was given.
        seconds: u64,
    },
}

impl LabError {
    /// For `map_err` on what is done to `path`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File { action, path: path.to_owned(), error }
    }
}
