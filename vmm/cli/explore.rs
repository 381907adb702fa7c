//! `bifold explore`: the experiments, and one of them run and printed.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::outcome;
use super::output::create;
use crate::explore::{self, EXPERIMENTS, Experiment, ExploreError, Finding};

/// Show one idea of memory at work: run its experiment, print what was measured and what that says
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment; without it they are listed
    #[arg(value_name = "NAME", value_parser = explore::find)]
    pub experiment: Option<Experiment>,
    /// Write what was measured as JSON; - is standard output, in the table's place
    #[arg(long, value_name = "FILE|-", requires = "experiment")]
    pub json: Option<PathBuf>,
    /// Write the table as CSV; - is standard output, in the table's place
    #[arg(long, value_name = "FILE|-", requires = "experiment")]
    pub csv: Option<PathBuf>,
}

/// Prints the experiments.
pub fn list() -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout();
    let width = EXPERIMENTS.iter().map(|experiment| experiment.name.len()).max().unwrap_or(0);
    for experiment in EXPERIMENTS {
        writeln!(out, "{:width$}  {}", experiment.name, experiment.about)?;
    }
    writeln!(out, "\nRun one with: bifold explore NAME")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the experiment that is named and prints what it found.
pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let experiment = args.experiment.ok_or("no experiment is named; bifold explore lists them")?;
    let json = args.json.as_deref().map(|path| destination("--json", path)).transpose()?;
    let csv = args.csv.as_deref().map(|path| destination("--csv", path)).transpose()?;
    let finding = match (experiment.run)() {
        Ok(finding) => finding,
        Err(ExploreError::Ended { command, end }) => return Ok(outcome::status(&command, &end)),
        Err(error) => return Err(error.into()),
    };
    if ![&args.json, &args.csv].into_iter().flatten().any(|path| is_standard_output(path)) {
        write!(io::stdout(), "{finding}")?;
    }
    for (to, write) in [(json, Finding::write_json as Writer), (csv, Finding::write_csv)] {
        let Some((path, mut to)) = to else { continue };
        match write(&finding, &mut to) {
            Err(error) if is_standard_output(path) => return Err(error.into()),
            written => written.map_err(|error| format!("{}: {error}", path.display()))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Writer = fn(&Finding, &mut dyn Write) -> io::Result<()>;

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// Where a report goes, opened before the work is done.
fn destination<'a>(option: &str, path: &'a Path) -> Result<(&'a Path, Box<dyn Write>), String> {
    if is_standard_output(path) {
        return Ok((path, Box::new(io::stdout())));
    }
    create(option, path).map(|(path, file)| (path, Box::new(file) as Box<dyn Write>))
}
