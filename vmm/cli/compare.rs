//! `bifold compare`: a matrix of memory systems and workloads.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use xxhash_rust::xxh3::xxh3_128;

use super::program;
use crate::compare::{
    Axis, Cell, Choice, Comparison, Header, Journal, Request, Runner, Spec, measure, workload_named,
};
use crate::guest;
use crate::inventory::Inventory;
use crate::memory::Size;
use crate::report::ComparisonReport;

/// Measure workloads, or a program, under each combination of axes, and say which differ
///
/// Axes: backing=4k,thp,hugetlb-2m,hugetlb-1g; ratio=N,N (guest RAM / host budget); mmu=npt,shadow (in the
/// lab); host-policy and guest-policy (as for run); size=SIZE,SIZE (of built-in workloads). Cells are
/// measured in turn, in random order, each in a process of its own, until their medians are sure enough. The
/// same command goes on where an earlier one was cut short.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Vary an axis over these values, the first is the baseline's (may be repeated)
    #[arg(long, value_name = "NAME=VALUE,...", value_parser = Choice::parse)]
    axis: Vec<Choice>,
    /// Measure a built-in workload: chase, update, sequential, sort, matmul, zipf, orderbook (may be
    /// repeated) [default: chase, sort, matmul]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = workload_named)]
    workload: Vec<&'static str>,
    /// Compare with the cells that have these values, and otherwise each cell's own [default: each axis's
    /// first value]
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = baseline)]
    baseline: Vec<(&'static Axis, String)>,
    /// Take what is not given here from this TOML file
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Guest RAM [default: 64M]
    #[arg(long, value_name = "SIZE")]
    ram: Option<Size>,
    /// Size of the guest's swap disk [default: four times --ram]
    #[arg(long, value_name = "SIZE")]
    swap: Option<Size>,
    /// How far a median's 99% interval may reach from it [default: 3]
    #[arg(long, value_name = "PERCENT")]
    precision: Option<f64>,
    /// The most samples of a cell [default: 15]
    #[arg(long, value_name = "COUNT")]
    repeats: Option<usize>,
    /// Where samples.jsonl, samples.csv, table.md and report.html go
    #[arg(long, value_name = "FOLDER", default_value = "bifold-compare")]
    output: PathBuf,
    /// The user's own program and its arguments, instead of workloads
    #[arg(value_name = "PROGRAM", last = true)]
    program: Vec<String>,
}

fn baseline(text: &str) -> Result<(&'static Axis, String), String> {
    let Choice { axis, mut values } = Choice::parse(text)?;
    Ok((axis, values.swap_remove(0)))
}

/// Measures, prints the table and writes the files; `in_lab`: every cell runs there. The exit status is 1 if a run failed that the host can
/// do.
pub fn run(args: Args, in_lab: bool) -> Result<ExitCode, Box<dyn Error>> {
    let file = args.spec.as_deref().map(Request::load).transpose()?.unwrap_or_default();
    let line = Request {
        axes: args.axis,
        workloads: args.workload,
        program: args.program,
        in_lab,
        baseline: args.baseline,
        ram: args.ram,
        swap: args.swap,
        precision: args.precision,
        repeats: args.repeats,
    };
    let spec = file.overridden_by(line).finish()?;
    let folder = &args.output;
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let header = header(&spec)?;
    // The journal's lock comes before anything else is written there.
    let (mut journal, known) = Journal::open(&folder.join("samples.jsonl"), &header)?;
    let runner = Runner::new(&spec, folder, place_workloads(folder)?);

    let bar = progress_bar();
    let tell = |cell: &Cell, left: usize| {
        bar.set_length(bar.position() + left as u64);
        bar.set_message(cell.to_string());
    };
    let run = |cell: &Cell| {
        log::info!("{cell}: bifold {}", runner.arguments(cell).join(" "));
        let outcome = runner.run(cell)?;
        bar.inc(1);
        Ok(outcome)
    };
    let series = measure(&spec, (&mut journal, known), run, tell)?;
    bar.finish_and_clear();

    let failed = series.iter().any(|series| series.unmeasured.as_ref().is_some_and(|why| !why.refused));
    let comparison = Comparison::new(series, &spec.baseline);
    let report = ComparisonReport { comparison, header, precision: spec.precision };
    write!(io::stdout(), "{report}")?;
    write_files(&report, folder)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

type Writer = fn(&ComparisonReport, File) -> io::Result<()>;

fn write_files(report: &ComparisonReport, folder: &Path) -> Result<(), String> {
    let files: [(&str, Writer); 3] = [
        ("samples.csv", |report, file| report.write_csv(file)),
        ("table.md", |report, file| report.write_markdown(file)),
        ("report.html", |report, file| report.write_html(file)),
    ];
    for (name, write) in files {
        let path = folder.join(name);
        File::create(&path)
            .and_then(|file| write(report, file))
            .map_err(|error| format!("{}; the samples are kept", unwritable(&path, &error)))?;
    }
    Ok(())
}

/// Puts the program with the workloads where a run finds it, and where a user can run it again.
fn place_workloads(folder: &Path) -> Result<PathBuf, String> {
    let path = std::path::absolute(folder.join("work")).map_err(|error| unwritable(folder, &error))?;
    if fs::read(&path).is_ok_and(|found| found == guest::WORK) {
        return Ok(path);
    }
    fs::write(&path, guest::WORK)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| unwritable(&path, &error))?;
    Ok(path)
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}; free some space, or name another folder with --output", path.display())
}

/// What the samples belong to.
fn header(spec: &Spec) -> Result<Header, Box<dyn Error>> {
    let digest = |bytes: &[u8]| format!("{:032x}", xxh3_128(bytes));
    let program = match spec.program.first() {
        Some(name) => fs::read(program::find(name)?.path)?,
        None => guest::WORK.to_vec(),
    };
    let host = Inventory::of_this_host();
    Ok(Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        bifold: digest(&fs::read("/proc/self/exe")?),
        program: digest(&program),
        command: spec.program.clone(),
        cpu: host.cpu.model,
        kernel: host.kernel,
        second_level: if spec.in_lab { "the lab's".to_owned() } else { host.second_level.to_string() },
        ram: spec.ram.bytes(),
        swap: spec.swap.map(Size::bytes),
    })
}

/// Drawn on standard error, and only if that is a terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} runs at most, {eta} left  {wide_msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
