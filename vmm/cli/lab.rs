//! `bifold lab`: the same command on a host that is emulated in software.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::lab::{self, Counts, HugePages, Job, Machine, Vendor};
use crate::memory::Size;

/// The most that Bochs gives a machine.
const INTEL_MEMORY: Size = Size::mib(2048);

/// Work on a software-emulated host whose CPU has nested paging; /dev/kvm is not needed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(RunArgs),
    Test(TestArgs),
    Count(CountArgs),
    /// Show the parts of the lab, their versions and checksums; fetch what is missing
    Doctor,
}

/// Run a bifold command in the lab: lab run -- run --ram 24M ./program
///
/// An argument that names a file is carried into the lab, to the same path; so is the HOST part of HOST:GUEST. If the
/// command writes such a file, it is carried back at the end.
#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// What would follow `bifold` on this machine
    #[arg(last = true, required = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Run the project's own tests in the lab, all in one boot (in the project's folder, with cargo)
#[derive(Debug, clap::Args)]
struct TestArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// Only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Count instructions: lab count -- run --ram 24M ./program
///
/// The emulated host's clock counts instructions, so every duration in the report of `run` is a number of them, the same
/// each time. It counts the length of software's path, not cycles: caches, TLBs and world switches cost nothing.
#[derive(Debug, clap::Args)]
struct CountArgs {
    /// ARGS are a program and its arguments: it runs on the lab's own Linux, to compare with
    #[arg(long)]
    linux: bool,
    /// Compare with the counts in this file; exit status 1 if one has grown by more than 2%
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the counts to this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// End the lab after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// What would follow `bifold` on this machine
    #[arg(last = true, required = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct MachineArgs {
    /// CPU of the emulated host: amd (QEMU, NPT) or intel (Bochs, EPT; much slower, no standard input)
    #[arg(long, value_name = "amd|intel", default_value = "amd")]
    cpu: Cpu,
    /// RAM of the emulated host [default: amd 4G, intel 2G, which is the most it takes]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// How many CPUs it has [default: amd 2, intel 1, which is its only choice]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    smp: Option<u8>,
    /// Whether KVM on amd uses nested paging (off: it shadows the guest's page tables) [default: on]
    #[arg(long, value_name = "on|off")]
    npt: Option<Switch>,
    /// The same on intel [default: on]
    #[arg(long, value_name = "on|off")]
    ept: Option<Switch>,
    /// Huge pages to set aside, such as 2M=64,1G=1
    #[arg(long, value_name = "LIST")]
    hugepages: Option<HugePages>,
    /// One more word for the kernel's command line; may be given several times
    #[arg(long = "kernel-param", value_name = "NAME[=VALUE]")]
    kernel_parameters: Vec<String>,
    /// End the lab after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Cpu {
    Amd,
    Intel,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl MachineArgs {
    fn run(&self, job: Job) -> Result<ExitCode, Box<dyn Error>> {
        let status = lab::run(&self.machine()?, job, Some(Duration::from_secs(self.timeout)))?;
        Ok(ExitCode::from(status))
    }

    fn machine(&self) -> Result<Machine, Box<dyn Error>> {
        let (vendor, nested_paging, cpus) = match self.cpu {
            Cpu::Amd if self.ept.is_some() => return Err("--ept belongs to --cpu intel; use --npt".into()),
            Cpu::Intel if self.npt.is_some() => return Err("--npt belongs to --cpu amd; use --ept".into()),
            Cpu::Intel if self.smp.is_some_and(|cpus| cpus > 1) => {
                return Err("--cpu intel has one CPU; leave --smp out".into());
            }
            Cpu::Intel if self.memory.is_some_and(|memory| memory > INTEL_MEMORY) => {
                return Err(format!("--cpu intel takes --memory {INTEL_MEMORY} at most").into());
            }
            Cpu::Amd => (Vendor::Amd, self.npt, self.smp.unwrap_or(2)),
            Cpu::Intel => (Vendor::Intel, self.ept, 1),
        };
        let memory = if vendor == Vendor::Intel { INTEL_MEMORY } else { Machine::default().memory };
        Ok(Machine {
            memory: self.memory.unwrap_or(memory),
            vendor,
            cpus,
            nested_paging: nested_paging != Some(Switch::Off),
            huge_pages: self.hugepages.unwrap_or_default(),
            exact_clock: false,
            kernel_parameters: self.kernel_parameters.clone(),
        })
    }
}

pub fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    match args.command {
        Command::Run(args) => args.machine.run(Job::bifold(args.arguments)?),
        Command::Test(args) => args.machine.run(Job::tests(args.filters)?),
        Command::Count(args) => count(args),
        Command::Doctor => {
            let (text, complete) = lab::doctor();
            io::stdout().write_all(text.as_bytes())?;
            complete?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn count(args: CountArgs) -> Result<ExitCode, Box<dyn Error>> {
    // Before the run: a file that is no baseline must not be found out after it.
    let baseline = args.baseline.as_deref().map(Counts::load).transpose()?;
    let count = if args.linux { lab::count_linux } else { lab::count };
    let (status, counts) = count(args.arguments, Duration::from_secs(args.timeout))?;
    if status != 0 {
        return Ok(ExitCode::from(status));
    }
    write!(io::stdout(), "{}", counts.table(baseline.as_ref()))?;
    if let Some(path) = &args.save {
        counts.save(path)?;
    }
    let grown = baseline.map(|baseline| counts.grown(&baseline)).unwrap_or_default();
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("bifold: more instructions than the baseline by over 2%: {}", grown.join(", "));
    Ok(ExitCode::FAILURE)
}
