//! `bifold replay`: a recorded trace under each policy, offline.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use indicatif::ProgressBar;
use paging::policy::PolicyKind;
use paging::replay::{NextUses, Reference, Tally, lru, opt, replay};
use thiserror::Error;

use super::frames::Frames;
use super::output::create;
use super::policy;
use crate::measure::trace::{Cause, PageUse, Trace, TraceError, TraceLevel};
use crate::report::{ReplayReport, Row};

/// Replay a trace under replacement policies, and show how far each is from the best there can be
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A trace that bifold recorded, or a text of page numbers, one a line or with commas; # starts a comment
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,
    /// A policy to show, besides LRU and OPT (may be repeated) [default: all]
    #[arg(long, value_name = "POLICY", value_parser = policy::parser())]
    pub policy: Vec<PolicyKind>,
    /// Numbers of page frames to replay with [default: eighths of the pages in the trace]
    #[arg(long, value_name = "N|N-M|N,M,...")]
    pub frames: Option<Frames>,
    /// Write the table as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// There is nothing in it.
    #[error("it holds no reference; record or write one that does")]
    Empty,
    /// More than a table of 32-bit indices takes.
    #[error("it holds more than {} references or {} pages; cut it into parts", u32::MAX - 1, Reference::MOST_PAGES)]
    TooLong,
}

/// A trace with its pages numbered in the order in which they first appear.
struct References {
    pages: u32,
    all: Vec<Reference>,
}

/// What is replayed: a policy that runs live, or one that is only possible here.
#[derive(Clone, Copy)]
enum Contender {
    Live(PolicyKind),
    Lru,
    Opt,
}

/// Replays and prints the table.
pub fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let name = args.trace.display();
    let (level, references) = read(&args.trace).map_err(|error| format!("{name}: {error}"))?;
    let json = args.json.as_deref().map(|path| create("--json", path)).transpose()?;
    let csv = args.csv.as_deref().map(|path| create("--csv", path)).transpose()?;
    let frames = args.frames.clone().unwrap_or_else(|| Frames::eighths_of(references.pages));
    let report = ReplayReport {
        trace: name.to_string(),
        level,
        references: references.all.len() as u64,
        pages: references.pages,
        rows: rows(&references, &frames, &contenders(&args.policy)),
    };
    if let Some((path, file)) = json {
        report.write_json(file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some((path, file)) = csv {
        report.write_csv(file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    write!(io::stdout(), "{report}")?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<(Option<&'static str>, References), ReplayError> {
    let trace = Trace::open(path)?;
    let level = match &trace {
        Trace::Binary(events) => Some(match events.header().level {
            TraceLevel::Guest => "guest",
            TraceLevel::Host => "host",
        }),
        Trace::Text(_) => None,
    };
    Ok((level, number_pages(trace)?))
}

fn number_pages(uses: impl Iterator<Item = Result<PageUse, TraceError>>) -> Result<References, ReplayError> {
    let mut numbers = HashMap::new();
    let mut all = Vec::new();
    for page_use in uses {
        let (page, cause) = page_use?;
        let next = numbers.len() as u32;
        let number = *numbers.entry(page).or_insert(next);
        if number == Reference::MOST_PAGES || all.len() as u64 >= u64::from(u32::MAX - 1) {
            return Err(ReplayError::TooLong);
        }
        all.push(Reference::new(number, cause == Cause::Write));
    }
    if all.is_empty() { Err(ReplayError::Empty) } else { Ok(References { pages: numbers.len() as u32, all }) }
}

/// Those asked for, or all, in the order of their names; then LRU and OPT.
fn contenders(wanted: &[PolicyKind]) -> Vec<Contender> {
    let is_wanted = |kind: &PolicyKind| wanted.is_empty() || wanted.contains(kind);
    let live = PolicyKind::ALL.into_iter().filter(is_wanted).map(Contender::Live);
    live.chain([Contender::Lru, Contender::Opt]).collect()
}

impl Contender {
    const fn name(self) -> &'static str {
        match self {
            Self::Live(kind) => kind.name(),
            Self::Lru => "lru",
            Self::Opt => "opt",
        }
    }

    fn tally(self, frames: u32, References { pages, all }: &References, next_uses: &NextUses) -> Tally {
        match self {
            Self::Live(kind) => replay(kind, frames, *pages, all),
            Self::Lru => lru(frames, *pages, all),
            Self::Opt => opt(frames, *pages, all, next_uses),
        }
    }
}

/// Each contender with each number of frames: independent of one another, so every CPU takes the next that is left.
fn rows(references: &References, frames: &Frames, contenders: &[Contender]) -> Vec<Row> {
    let next_uses = NextUses::of(references.pages, &references.all);
    let runs_with = |frames: u32| contenders.iter().map(move |&who| (frames, who, OnceLock::new()));
    let runs: Vec<(u32, Contender, OnceLock<Tally>)> = frames.0.iter().copied().flat_map(runs_with).collect();
    let bar = ProgressBar::new(runs.len() as u64);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((frames, who, tally)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            tally.get_or_init(|| who.tally(*frames, references, &next_uses));
            bar.inc(1);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(runs.len());
    thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    bar.finish_and_clear();
    let tallies = runs.iter().map(|(_, who, tally)| (who.name(), tally.get().copied().unwrap_or_default()));
    let tallies: Vec<_> = tallies.collect();
    frames
        .0
        .iter()
        .zip(tallies.chunks(contenders.len()))
        .map(|(&frames, row)| Row::new(frames, row))
        .collect()
}
