//! The command line: one file a subcommand.

mod check;
mod compare;
mod ctl;
mod demo;
mod explore;
mod frames;
mod guest;
mod host;
mod inventory;
mod lab;
mod limits;
mod outcome;
mod output;
mod policy;
mod program;
mod reference;
mod replay;
mod run;
mod store;
mod test;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use host::{Chosen, Host};

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
    /// Where the guest runs: under this machine's KVM, or in the lab [default: kvm where it can be used]
    #[arg(long, value_name = "kvm|lab", global = true)]
    host: Option<Host>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Explore(explore::Args),
    Compare(compare::Args),
    Check(check::Args),
    Host(inventory::Args),
    Replay(replay::Args),
    Ctl(ctl::Args),
    Lab(lab::Args),
    #[command(hide = true)]
    Test(test::Args),
}

/// The exit status where bifold cannot do what was asked, or was asked for nonsense.
const CANNOT: u8 = 2;
/// The exit status where the guest's kernel broke down.
const GUEST_BROKE: u8 = 3;

/// Runs the command that the process's arguments name and returns its exit status.
pub fn main() -> ExitCode {
    let asked = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    start_log(cli.verbose);
    run(cli, asked).unwrap_or_else(|error| {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            // Nobody reads what we print: end as a program does that SIGPIPE ends.
            return ExitCode::from(outcome::BROKEN_PIPE);
        }
        eprintln!("bifold: {error}");
        ExitCode::from(CANNOT)
    })
}

fn run(cli: Cli, asked: Instant) -> Result<ExitCode, Box<dyn Error>> {
    let command = match cli.command {
        Some(Command::Lab(args)) => return lab::run(args),
        Some(Command::Compare(args)) => return compare::run(args, cli.host == Some(Host::Lab)),
        Some(Command::Check(args)) => return check::run(&args),
        Some(Command::Host(args)) => return inventory::run(&args),
        Some(Command::Replay(args)) => return replay::run(&args),
        Some(Command::Ctl(args)) => return ctl::run(&args),
        Some(Command::Test(args)) => return test::run(args),
        Some(Command::Explore(args)) if args.experiment.is_none() => return explore::list(),
        command => command,
    };
    match (host::choose(cli.host)?, command) {
        (Chosen::Lab, _) => host::run_in_lab(cli.host.is_some()),
        (Chosen::Kvm(hypervisor), Some(Command::Run(args))) => run::run(&args, hypervisor, asked),
        (Chosen::Kvm(_), Some(Command::Explore(args))) => explore::run(&args),
        (Chosen::Kvm(hypervisor), _) => demo::run(hypervisor),
    }
}

/// Help and version are printed as they are; a mistake is answered in one line, as every other error is.
fn answer(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody reads it: there is nobody to tell.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let mistake = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    eprintln!("bifold: {}; --help says more", mistake.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(CANNOT)
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
