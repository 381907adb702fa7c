//! `bifold run`: a program, or another kernel, in a guest.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use super::GUEST_BROKE;
use crate::machine::run::{Config, End};
use crate::memory::Size;
use abi::port::Exit;

/// Run a static Linux program in a guest
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Guest RAM: what the guest believes it has
    #[arg(long, value_name = "SIZE", default_value = "128M")]
    ram: Size,
    /// Run this 64-bit ELF kernel instead of ours; its serial port is standard output
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
    /// End the run after this long, with exit status 124
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let kernel = match &args.kernel {
        Some(path) => std::fs::read(path)?,
        None => crate::guest::KERNEL.to_vec(),
    };
    let config = Config { ram: args.ram, kernel, timeout: args.timeout.map(std::time::Duration::from_secs) };
    let outcome = crate::machine::run::run(&config)?;
    Ok(match outcome.end {
        End::Exit(Exit::Status(status)) => ExitCode::from(status),
        end => {
            eprintln!("{end:?}");
            ExitCode::from(GUEST_BROKE)
        }
    })
}
