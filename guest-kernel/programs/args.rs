//! Shows what a program is given: its arguments and environment, a line each, then how much it can read from
//! standard input. Writes one line to standard error.

use std::env;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use programs::mix;

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("args: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (number, argument) in env::args_os().enumerate() {
        writeln!(out, "argument {number}: {}", argument.display())?;
    }
    for (name, value) in env::vars_os() {
        writeln!(out, "environment: {}={}", name.display(), value.display())?;
    }
    out.flush()?;
    writeln!(io::stderr(), "this goes to standard error")?;

    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let checksum = input.iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)));
    writeln!(out, "input: {} bytes, checksum {checksum:016x}", input.len())
}
