//! The side of whoever asks.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::ControlError;
use super::protocol::Request;

/// How long a run may take to answer: longer than a vCPU takes to leave the guest.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the run that listens at `path`, and returns its answer's line.
///
/// # Errors
/// Nobody listens or answers, or what was asked for was not done.
pub fn ask(path: &Path, request: &Request) -> Result<String, ControlError> {
    let connect = |error| ControlError::Connect { path: path.to_owned(), error };
    let no_answer = |error| ControlError::NoAnswer { path: path.to_owned(), error };
    let mut stream = UnixStream::connect(path).map_err(connect)?;
    let line = exchange(&mut stream, request).map_err(no_answer)?;
    let answer: Value = serde_json::from_str(&line).map_err(|error| no_answer(error.into()))?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Err(ControlError::Refused(error.to_owned())),
        None => Ok(line),
    }
}

fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended"));
    }
    Ok(answer)
}
