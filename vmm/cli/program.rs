//! Which file a PROGRAM on the command line is.

use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use object::read::ReadCache;
use thiserror::Error;

use crate::machine::elf::{ElfError, check_program};

/// Why a program cannot be run.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// Nowhere.
    #[error("{0}: no such program here or on the PATH: give its path")]
    NotFound(String),
    /// It is there but cannot be read.
    #[error("{path}: {error}; a program must be readable to be run in the guest")]
    Unreadable {
        /// Where.
        path: String,
        /// The host's answer.
        error: io::Error,
    },
    /// A folder, a device.
    #[error("{0}: is not a regular file: give the path of a program")]
    NotRegular(String),
    /// A dynamic program without its loader.
    #[error(
        "{path}: wants the interpreter {interpreter}, which is not here: install it, or link the program statically"
    )]
    NoInterpreter {
        /// Where.
        path: String,
        /// What it wants.
        interpreter: String,
    },
    /// Not a Linux program.
    #[error("{path}: {error}")]
    Elf {
        /// Where.
        path: String,
        /// What is wrong with it.
        error: ElfError,
    },
}

/// A program that the guest can run.
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// The loader that a dynamic one wants; it is there.
    pub loader: Option<String>,
}

/// Finds a program as a shell would (a name without a slash on the PATH, after the working directory) and checks that
/// the guest can run it.
pub fn find(name: &str) -> Result<Found, ProgramError> {
    let path = locate(name).ok_or_else(|| ProgramError::NotFound(name.to_owned()))?;
    let unreadable = |error| ProgramError::Unreadable { path: name.to_owned(), error };
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(ProgramError::NotRegular(name.to_owned()));
    }
    let image = ReadCache::new(File::open(&path).map_err(unreadable)?);
    let loader = check_program(&image).map_err(|error| ProgramError::Elf { path: name.to_owned(), error })?;
    match loader {
        Some(interpreter) if !Path::new(&interpreter).is_file() => {
            Err(ProgramError::NoInterpreter { path: name.to_owned(), interpreter })
        }
        loader => Ok(Found { path, loader }),
    }
}

fn locate(name: &str) -> Option<PathBuf> {
    let here = Path::new(name);
    if here.exists() || name.contains('/') {
        return here.exists().then(|| here.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}
