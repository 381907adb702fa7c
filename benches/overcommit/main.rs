//! What overcommit costs: a program touches four times the memory that is kept of it, in five orders. It runs
//! natively in a memory cgroup under the kernel's own swap, in a guest under `--host-pager kernel` on the
//! same swap, and in a guest under Bifold's pager.
//!
//!     cargo bench --bench overcommit [-- --quick --pairs N --size MIB --budget MIB --rows NAME,..]
//!
//! Runs take turns, and the medians' ratios within one call are what compares. Root only: swap (zram, then a
//! file) is switched on for the time, and a cgroup is made. Both are gone at the end, after Ctrl-C too.

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cgroup;
mod contender;
#[path = "../../tests/stack/support/host_swap.rs"]
mod host_swap;
mod results;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use contender::{Contender, Medium};
use host_swap::HostSwap;
use results::Results;

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;

/// What overcommit costs, natively and in a guest
#[derive(Parser)]
struct Options {
    /// Runs of each row
    #[arg(long, default_value_t = 10)]
    pairs: u32,
    /// What the program touches, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    size: u64,
    /// How much of it is kept resident, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    budget: u64,
    /// One run of each row, a quarter of the sizes
    #[arg(long, conflicts_with = "pairs")]
    quick: bool,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_parser = row)]
    rows: Vec<Contender>,
    /// Cargo says that it is a bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn row(name: &str) -> Result<Contender, String> {
    let found = contender::ALL.iter().find(|contender| contender.name == name).copied();
    let names = || contender::ALL.iter().map(|contender| contender.name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("the rows are {}", names()))
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.quick {
        (options.pairs, options.size, options.budget) = (1, options.size / 4, options.budget / 4);
    }
    if options.rows.is_empty() {
        options.rows = contender::ALL.to_vec();
    }
    match measure(&options) {
        Ok(results) => {
            print!("{results}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("overcommit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<Results, String> {
    if host_swap::is_on() {
        return Err("this host has swap on, which would be measured too: swapoff -a".to_owned());
    }
    // Whoever is running gets the signal too, from the terminal, and ends; then what was set up is taken
    // down.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|error| error.to_string())?;
    }
    let mut results = Results::new(options);
    for medium in Medium::ALL {
        let rows: Vec<_> = options.rows.iter().filter(|contender| contender.medium == medium).collect();
        if rows.is_empty() {
            continue;
        }
        let _swap = switch_on(medium, options.size * 2 * MIB)?;
        for pair in 0..options.pairs as usize {
            // Each in its turn, and not always the same one first.
            for turn in 0..rows.len() {
                let contender = rows[(pair + turn) % rows.len()];
                if results.is_possible(contender) {
                    eprint!("\r\x1b[K{} of {}: {}", pair + 1, options.pairs, contender.name);
                    results.add(contender, contender.run(options));
                }
                if stop.load(Ordering::Relaxed) {
                    return Err("interrupted".to_owned());
                }
            }
        }
        eprint!("\r\x1b[K");
    }
    Ok(results)
}

fn switch_on(medium: Medium, bytes: u64) -> Result<HostSwap, String> {
    match medium {
        Medium::Memory => HostSwap::zram(bytes),
        Medium::Disk => HostSwap::file(bytes, "/var/tmp".as_ref()),
    }
}
