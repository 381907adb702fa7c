//! `bifold host`: what this host has, and which axes of a comparison it can do.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::compare::{AXES, Verdict};
use crate::inventory::Inventory;

/// Show what this host has for paging, which axes of `compare` it can do, and how to enable the others
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    host: &'a Inventory,
    axes: BTreeMap<&'static str, BTreeMap<&'static str, Line>>,
}

/// The verdict on one value of one axis.
#[derive(Serialize)]
struct Line {
    works: bool,
    reason: Option<String>,
    command: Option<String>,
}

impl From<Verdict> for Line {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Works => Self { works: true, reason: None, command: None },
            Verdict::Lacks { reason, command } => Self { works: false, reason: Some(reason), command },
        }
    }
}

/// Prints it.
pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let host = Inventory::of_this_host();
    let mut out = io::stdout().lock();
    if args.json {
        let values = |axis: &crate::compare::Axis| {
            axis.verdicts(&host).into_iter().map(|(value, verdict)| (value, verdict.into())).collect()
        };
        let axes = AXES.iter().filter(|axis| !axis.is_load).map(|axis| (axis.name, values(axis)));
        serde_json::to_writer_pretty(&mut out, &Answer { host: &host, axes: axes.collect() })?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{host}\n{}", verdicts(&host))?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each axis with what works, and one for each value that does not.
fn verdicts(host: &Inventory) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["axis", "value", "on this host"]);
    for axis in AXES {
        let (works, lacks): (Vec<_>, Vec<_>) =
            axis.verdicts(host).into_iter().partition(|(_, verdict)| *verdict == Verdict::Works);
        if !works.is_empty() {
            let names: Vec<&str> = works.iter().map(|(value, _)| *value).collect();
            table.add_row([axis.name, &names.join(", "), "works"]);
        }
        for (value, verdict) in lacks {
            let Line { reason, command, .. } = verdict.into();
            let reason = reason.unwrap_or_default();
            // Some reasons say it themselves.
            let command = command.filter(|command| !reason.contains(command));
            let command = command.map(|command| format!("\n# {command}")).unwrap_or_default();
            table.add_row([axis.name, value, &format!("{reason}{command}")]);
        }
    }
    table.trim_fmt()
}
