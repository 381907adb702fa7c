//! `bifold run`: a program, or another kernel, in a guest.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use paging::policy::PolicyKind;
use rustix::termios::{isatty, tcgetwinsize};

use super::output::create;
use super::{guest, limits, outcome, policy, program, reference, store};
use crate::devices::{Access, DiskFile, FileSpec, FolderSpec};
use crate::machine::{self, Config, Guest, Hypervisor, MachineError, Program, Start, Streams, libraries};
use crate::memory::{Backing, Size};
use crate::pager::{HugeSwap, PagerKind, TraceFile};
use crate::report::Report;

/// Run a Linux program in a guest, or another kernel
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Guest RAM: what the guest believes it has
    #[arg(long, value_name = "SIZE", default_value = "128M")]
    pub ram: Size,
    /// What backs guest RAM on the host: 4k, thp, hugetlb-2m or hugetlb-1g [default: what the host's kernel likes]
    #[arg(long, value_name = "BACKING")]
    pub backing: Option<Backing>,
    /// Host budget: how much of guest RAM the host keeps resident [default: all of it, backed by the host's kernel]
    #[arg(long, value_name = "SIZE")]
    pub host_ram: Option<Size>,
    /// Size of the guest's swap disk [default: four times --ram]
    #[arg(long, value_name = "SIZE", conflicts_with = "kernel")]
    pub swap: Option<Size>,
    #[command(flatten)]
    pub store: store::StoreArgs,
    #[command(flatten)]
    pub guest: guest::GuestArgs,
    /// Who keeps the host's budget: uffd (this process, to --store) or kernel (this process chooses victims, the host's
    /// kernel takes them to its own swap)
    #[arg(long, value_name = "uffd|kernel", default_value = "uffd", requires = "host_ram")]
    pub host_pager: PagerKind,
    /// Which pages the host evicts
    /// [default: clock; fifo with --store memory, unless a --host-reference is asked for]
    #[arg(long, value_name = "POLICY", value_parser = policy::parser())]
    pub host_policy: Option<PolicyKind>,
    /// What becomes of a huge page of guest RAM that the host evicts: keep (it goes and comes whole), split or auto
    #[arg(long, value_name = "keep|split|auto", default_value = "auto")]
    pub huge_swap: HugeSwap,
    #[command(flatten)]
    pub reference: reference::ReferenceArgs,
    /// Make a file of the host visible in the guest: :ro read-only, :create=SIZE as one that may grow to SIZE and is made if
    /// it is not there (may be repeated)
    #[arg(long, value_name = "HOST[:GUEST][:ro|:create=SIZE]", conflicts_with = "kernel")]
    pub file: Vec<FileSpec>,
    /// Make each file under a folder of the host visible in the guest; :ro makes them read-only (may be repeated)
    #[arg(long, value_name = "HOST[:GUEST][:ro]", conflicts_with = "kernel")]
    pub dir: Vec<FolderSpec>,
    /// Set a variable of the program's environment, which otherwise has only PATH, HOME and TERM (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "kernel", value_parser = variable)]
    pub env: Vec<String>,
    /// Print both levels' counters on standard error at the end
    #[arg(long)]
    pub stats: bool,
    /// Write both levels' counters as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Record every fault of the guest in a file, for bifold replay
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    pub trace: Option<PathBuf>,
    /// Record every fault of the host's pager in a file, for bifold replay
    #[arg(long, value_name = "FILE", requires = "host_ram")]
    pub host_trace: Option<PathBuf>,
    /// Run this 64-bit ELF kernel instead of ours; its serial port is standard output
    #[arg(long, value_name = "ELF")]
    pub kernel: Option<PathBuf>,
    /// Listen for `bifold ctl` on a new Unix socket at this path: status, set-budget, pause, resume, stop
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// End the run after this long, with exit status 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// The program, an ELF file, and its arguments; the libraries that it needs are made visible in the guest
    #[arg(
        value_name = "PROGRAM",
        trailing_var_arg = true,
        required_unless_present = "kernel",
        conflicts_with = "kernel"
    )]
    pub command: Vec<String>,
}

/// The policy where none is asked for. To bring a page back from memory costs no more than a soft fault, which is how a policy learns that
/// it is used (docs/host-victims.md has the figures).
fn host_policy(args: &Args) -> PolicyKind {
    if args.store.is_in_memory() && args.reference.host_reference.is_none() {
        PolicyKind::Fifo
    } else {
        PolicyKind::Clock
    }
}

/// Runs what the arguments say and returns the program's exit status.
pub fn run(args: &Args, hypervisor: Hypervisor, asked: Instant) -> Result<ExitCode, Box<dyn Error>> {
    limits::check(args.ram, args.host_ram)?;
    args.store.check(args.host_ram)?;
    if let Some(backing) = args.backing {
        backing.check(args.ram, args.host_ram.is_some())?;
    }
    let json = args.json.as_deref().map(|path| create("--json", path)).transpose()?;
    let guest = match &args.kernel {
        Some(path) => Guest::Kernel(std::fs::read(path).map_err(|error| unreadable(path, &error))?),
        None => Guest::Program(Box::new(program_of(args)?)),
    };
    let config = Config {
        asked,
        hypervisor,
        ram: args.ram,
        backing: args.backing,
        host_ram: args.host_ram,
        host_pager: args.host_pager,
        host_policy: args.host_policy.unwrap_or_else(|| host_policy(args)),
        huge_swap: args.huge_swap,
        host_reference: args.reference.source(args.kernel.is_some())?,
        host_trace: trace_file("--host-trace", args.host_trace.as_deref())?,
        store: args.store.config(),
        guest,
        timeout: args.timeout.map(Duration::from_secs),
        control: args.control.clone(),
    };
    let mut report = Report::new(&config, args.command.clone());
    let run = machine::run(config, None).map_err(|error| named(args, error))?;
    report.finish(&run);
    let name = args.command.first().map_or("the kernel", String::as_str);
    let status = outcome::status(name, &run.end);
    if args.stats {
        eprint!("{report}");
    }
    if let Some((path, file)) = json {
        report.write_json(file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(status)
}

/// A kernel that the user gave is named in what is wrong with it.
fn named(args: &Args, error: MachineError) -> Box<dyn Error> {
    match (&args.kernel, error) {
        (Some(path), MachineError::Boot(error)) => format!("{}: {error}", path.display()).into(),
        (_, error) => error.into(),
    }
}

fn program_of(args: &Args) -> Result<Program, Box<dyn Error>> {
    let name = args.command.first().ok_or("no PROGRAM: name one, or a kernel with --kernel")?;
    let program::Found { path, loader } = program::find(name)?;
    let in_guest = if name.contains('/') { Path::new(name) } else { &path };
    let program = FileSpec::new(&path, &in_guest.to_string_lossy(), Access::ReadOnly)?;
    let mut start = start(&program.guest, args.command.clone(), &args.env);
    let streams = own_streams()?;
    limits::raise_open_files();
    let files =
        files_of(args, program, loader.as_deref())?.iter().map(DiskFile::open).collect::<Result<_, _>>()?;
    (start.terminals, start.window) = terminals();
    let trace = trace_file("--trace", args.trace.as_deref())?;
    let swap = args.swap.or(Size::from_bytes(args.ram.bytes() * 4).ok());
    Ok(Program { start, files, swap, trace, paging: args.guest.paging(), streams })
}

/// Everything that the guest sees. What the user named comes before what comes along with it; two files that the user wants under
/// one path are two, and an error later.
fn files_of(args: &Args, program: FileSpec, loader: Option<&str>) -> Result<Vec<FileSpec>, Box<dyn Error>> {
    let mut files = args.file.clone();
    let mut others = Vec::new();
    for folder in &args.dir {
        others.extend(folder.files()?);
    }
    for library in loader.map(|loader| libraries::by(loader, &program.host)).unwrap_or_default() {
        others.push(FileSpec::new(&library, &library.to_string_lossy(), Access::ReadOnly)?);
    }
    if !files.iter().any(|file| file.guest == program.guest && same_file(&file.host, &program.host)) {
        files.push(program);
    }
    let mut paths: HashSet<_> = files.iter().map(|file| file.guest.clone()).collect();
    files.extend(others.into_iter().filter(|file| paths.insert(file.guest.clone())));
    // The guest's kernel puts them in this order.
    files.sort_by(|one, other| one.guest.cmp(&other.guest));
    Ok(files)
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// How a program at `path` in the guest is started. The guest's only folder tree is its files', so every relative
/// path starts at the root.
fn start(path: &str, argv: Vec<String>, variables: &[String]) -> Start {
    let mut envp = vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned(), "HOME=/".to_owned()];
    envp.extend(std::env::var("TERM").map(|term| format!("TERM={term}")));
    for variable in variables {
        let name = variable.split_inclusive('=').next().unwrap_or(variable);
        envp.retain(|other| !other.starts_with(name));
        envp.push(variable.clone());
    }
    Start { program: path.to_owned(), directory: "/".to_owned(), argv, envp, ..Start::default() }
}

fn own_streams() -> io::Result<Streams> {
    Ok(Streams {
        input: io::stdin().as_fd().try_clone_to_owned()?,
        output: io::stdout().as_fd().try_clone_to_owned()?,
        error: io::stderr().as_fd().try_clone_to_owned()?,
    })
}

/// Which of the standard streams are terminals, and the size of the first that is.
fn terminals() -> (u32, (u16, u16)) {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
    let terminals = streams.iter().enumerate().filter(|(_, stream)| isatty(stream));
    let bits = terminals.clone().fold(0, |bits, (number, _)| bits | 1 << number);
    let window = terminals.map(|(_, stream)| tcgetwinsize(stream)).find_map(Result::ok);
    (bits, window.map_or((0, 0), |window| (window.ws_col, window.ws_row)))
}

/// Makes the file of a trace, if one is wanted.
fn trace_file(option: &'static str, path: Option<&Path>) -> Result<Option<TraceFile>, Box<dyn Error>> {
    let file = path.map(|path| create(option, path)).transpose()?;
    Ok(file.map(|(path, file)| (path.to_owned(), file)))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}; give the path of a kernel that you may read", path.display())
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
