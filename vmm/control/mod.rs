//! Control of a running guest over a Unix socket: requests and answers (`protocol`), the side of the run
//! (`server`) and that of whoever asks (`client`). docs/control.md describes it for users.

mod client;
mod protocol;
mod server;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use client::ask;
pub use protocol::{Answer, GuestCounts, HostCounts, MAX_LINE, Request, RunState, Status};
pub use server::Server;

/// Why there is no control.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ControlError {
    #[error("--control {0} is too long for a socket: give a path of at most {max} bytes", max = server::MAX_PATH)]
    TooLong(PathBuf),
    #[error("--control {0} is in use by another bifold: name another path")]
    InUse(PathBuf),
    #[error("--control {0} exists: name a path that does not exist")]
    Exists(PathBuf),
    #[error("cannot listen at --control {path}: {error}; name a path in a folder that you may write to")]
    Listen { path: PathBuf, error: io::Error },
    #[error("cannot serve --control {0}: {1}; check the limits on processes and open files (ulimit -u, -n)")]
    Serve(PathBuf, io::Error),
    #[error("no bifold listens at {path}: {error}; start one with --control {path}")]
    Connect { path: PathBuf, error: io::Error },
    #[error("the bifold at {path} does not answer: {error}")]
    NoAnswer { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Refused(String),
}
