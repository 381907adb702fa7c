//! `bifold test`: a binary of the project's tests, here or in the lab. Cargo's runner calls it (tests/runner).

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use super::host::{self, Chosen, Host};
use crate::lab::{self, Job, Machine};

/// Run a test binary where a guest can run: on this machine, or in the lab
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The binary and its arguments
    #[arg(value_name = "BINARY", trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

/// Becomes the binary, or carries it to the lab and returns its exit status.
pub fn run(mut args: Args, asked: Option<Host>) -> Result<ExitCode, Box<dyn Error>> {
    let binary = args.command.remove(0);
    let arguments = args.command;
    if !would_run_tests(&binary, &arguments) || matches!(host::choose(asked)?, Chosen::Kvm(_)) {
        let error = Command::new(&binary).args(&arguments).exec();
        return Err(format!("cannot run {binary}: {error}").into());
    }
    let status = lab::run(&Machine::default(), Job::test(&binary, arguments)?, None)?;
    Ok(ExitCode::from(status))
}

/// Whether libtest lists a test. It does not for a filter that means another binary, `--help`, `--list` or a mistake:
/// nothing to start a machine for.
fn would_run_tests(binary: &str, arguments: &[String]) -> bool {
    let listing = Command::new(binary).args(arguments).arg("--list").stdin(Stdio::null()).output();
    listing.is_ok_and(|listing| {
        listing.status.success()
            && String::from_utf8_lossy(&listing.stdout).lines().any(|line| line.ends_with(": test"))
    })
}
