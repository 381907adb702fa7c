//! `bifold test`: a binary of the project's tests, here or in the lab. Cargo's runner calls it (tests/runner).

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use crate::lab::{self, Job, Machine};
use crate::machine::Hypervisor;

/// Run a test binary where a guest can run: on this machine, or in the lab
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The binary and its arguments
    #[arg(value_name = "BINARY", trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

/// Becomes the binary, or carries it to the lab and returns its exit status.
pub fn run(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let binary = args.command.remove(0);
    let arguments = args.command;
    match Hypervisor::open() {
        Err(error) if has_tests(&binary, &arguments) => {
            eprintln!("bifold: {error}. These tests run in the lab, a host emulated in software");
            let job = Job::test(&binary, arguments)?;
            Ok(ExitCode::from(lab::run(&Machine::default(), job, None)?))
        }
        _ => {
            let error = Command::new(&binary).args(&arguments).exec();
            Err(format!("cannot run {binary}: {error}").into())
        }
    }
}

/// Whether libtest lists a test. It does not for a filter that means another binary, `--help`, `--list` or a mistake:
/// nothing to start a machine for.
fn has_tests(binary: &str, arguments: &[String]) -> bool {
    let listing = Command::new(binary).args(arguments).arg("--list").stdin(Stdio::null()).output();
    listing.is_ok_and(|listing| {
        listing.status.success()
            && String::from_utf8_lossy(&listing.stdout).lines().any(|line| line.ends_with(": test"))
    })
}
