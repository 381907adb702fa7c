//! `bifold check`: has a comparison become slower since an earlier one?

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{Table, presets};

use super::output::create;
use crate::compare::{Check, Finding, Record};
use crate::report::write_junit;

/// Compare two comparisons' samples cell by cell; exit status 1 if one is slower for sure
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The old samples: a samples.jsonl of `bifold compare`
    #[arg(long, value_name = "OLD.jsonl")]
    baseline: PathBuf,
    /// The new ones
    #[arg(value_name = "NEW.jsonl")]
    new: PathBuf,
    /// Let slowdowns up to this pass, however sure they are
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    tolerance: f64,
    /// Write the answer as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Prints what changed.
pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if !(0.0..1000.0).contains(&args.tolerance) {
        return Err(format!("--tolerance {} makes no sense: give percent, 0 or more", args.tolerance).into());
    }
    let (old, new) = (Record::load(&args.baseline)?, Record::load(&args.new)?);
    let junit = args.junit.as_deref().map(|path| create("--junit", path)).transpose()?;
    let check = Check::new(&old, &new, args.tolerance / 100.0);
    for warning in &check.warnings {
        eprintln!("bifold: {warning}: what differs may be that");
    }
    writeln!(io::stdout(), "{}", table(&check))?;
    if let Some((path, file)) = junit {
        write_junit(&check, file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(if check.has_regressed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(check: &Check) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["cell", "new / old", "verdict"]);
    for checked in &check.cells {
        let (ratio, verdict) = match &checked.finding {
            Finding::Slower(ratio) => (ratio.to_string(), "SLOWER".to_owned()),
            Finding::Faster(ratio) => (ratio.to_string(), "faster".to_owned()),
            Finding::Same(ratio) => (ratio.to_string(), "no difference that matters".to_owned()),
            Finding::Failed(why) => (String::new(), format!("FAILED: {why}")),
            Finding::Skipped(why) => (String::new(), format!("not compared: {why}")),
        };
        table.add_row([checked.cell.to_string(), ratio, verdict]);
    }
    table.trim_fmt()
}
