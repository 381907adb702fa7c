//! `bifold ctl`: asks a running bifold over its control socket.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::control::{Request, ask};
use crate::memory::Size;

/// Ask a bifold that runs with --control, and print its answer, a line of JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The path that was given to --control
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(subcommand)]
    request: Ask,
}

#[derive(Debug, clap::Subcommand)]
enum Ask {
    /// How the run goes
    Status,
    /// Change the host's budget (--host-ram) while the guest runs
    SetBudget {
        /// The new budget
        #[arg(value_name = "SIZE")]
        budget: Size,
    },
    /// Stop the guest's CPU until resume
    Pause,
    /// Let it go on
    Resume,
    /// End the run, as SIGTERM does
    Stop,
}

/// Asks, and prints the answer.
pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let request = match args.request {
        Ask::Status => Request::Status,
        Ask::SetBudget { budget } => Request::SetBudget { bytes: budget.bytes() },
        Ask::Pause => Request::Pause,
        Ask::Resume => Request::Resume,
        Ask::Stop => Request::Stop,
    };
    let line = ask(&args.path, &request)?;
    io::stdout().write_all(line.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
