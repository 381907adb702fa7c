//! The command line: one file a subcommand.

mod lab;
mod limits;
mod outcome;
mod program;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A wind tunnel for memory: runs a program in a virtual machine whose guest pages, on a host that
/// pages the guest's RAM, and shows what both levels do.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Say more: -v what is done, -vv each step (RUST_LOG overrides it)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Lab(lab::Args),
}

/// The exit status where bifold cannot do what was asked, or was asked for nonsense.
const CANNOT: u8 = 2;
/// The exit status where the guest's kernel broke down.
const GUEST_BROKE: u8 = 3;

/// Runs the command that the process's arguments name and returns its exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.verbose);
    let done = match cli.command {
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Lab(args)) => lab::run(args),
        None => Ok(ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bifold: {error}");
        ExitCode::from(CANNOT)
    })
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format_target(false)
        .format_timestamp(None)
        .init();
}
