//! Random memory system calls from several processes, with every page's content checked against a model.
//!
//! `stress --calls N --processes P --seed S [--pages N] [--signals] [--forks] [--leaks] [--file PATH]`
//!
//! Each process has an arena of so many pages (`arena.rs`) that it maps, protects, moves and gives up at random; between the calls it
//! stores to pages and checks others. The first byte that is not as the model has it ends the program with status 1, and so does a call that does
//! not answer as it should. One of the files that the first process maps is PATH; all others are in memory. `--leaks` compares what the machine has free before and after: for a machine that runs nothing else.

#[path = "stress/advice.rs"]
mod advice;
#[path = "stress/arena.rs"]
mod arena;
#[path = "stress/calls.rs"]
mod calls;
#[path = "stress/content.rs"]
mod content;
#[path = "stress/family.rs"]
mod family;
#[path = "stress/machine.rs"]
mod machine;
#[path = "stress/objects.rs"]
mod objects;
#[path = "stress/os.rs"]
mod os;
#[path = "stress/signals.rs"]
mod signals;
#[path = "stress/transfer.rs"]
mod transfer;
#[path = "stress/worker.rs"]
mod worker;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use programs::{Random, fail};

use self::machine::Machine;
use self::worker::Worker;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Options {
    calls: usize,
    processes: usize,
    seed: u64,
    pages: usize,
    signals: bool,
    forks: bool,
    leaks: bool,
    file: Option<&'static str>,
}

fn main() -> ExitCode {
    let Some(options) = parse() else {
        fail(
            "usage: stress --calls N --processes P --seed S [--pages N] [--signals] [--forks] [--leaks] [--file PATH]",
        );
    };
    signals::handle();
    // What the kernel makes once, and keeps, is there after a short round.
    let before = options.leaks.then(|| {
        run(&Options { calls: options.processes, pages: calls::MOST, ..options });
        machine::stretch(options.processes);
        Machine::now()
    });
    let wrong = run(&options);
    let leaked = before.map_or(0, |before| before.leaked(&Machine::now()));
    let leaks = if options.leaks { format!(", {leaked} leaked") } else { String::new() };
    println!("{} calls, {wrong} wrong{leaks}", options.calls);
    ExitCode::from(u8::from(wrong > 0 || leaked > 0))
}

fn parse() -> Option<Options> {
    let mut options = Options {
        calls: 0,
        processes: 1,
        seed: 1,
        pages: 256,
        signals: false,
        forks: false,
        leaks: false,
        file: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match argument.as_str() {
            "--calls" => options.calls = number()?,
            "--processes" => options.processes = number()?,
            "--seed" => options.seed = number()? as u64,
            "--pages" => options.pages = number()?,
            "--signals" => options.signals = true,
            "--forks" => options.forks = true,
            "--leaks" => options.leaks = true,
            "--file" => options.file = Some(arguments.next()?.leak()),
            _ => return None,
        }
    }
    let usable = options.calls > 0 && options.processes > 0 && options.pages >= calls::MOST;
    usable.then_some(options)
}

/// Runs all processes to their end. Returns how many found something wrong.
fn run(options: &Options) -> usize {
    let start = |number| os::fork().unwrap_or_else(|| os::exit(Worker::new(*options, number).run()));
    let mut alive: Vec<i32> = (0..options.processes).map(start).collect();
    let mut random = Random::new(options.seed);
    let mut wrong = 0;
    while !alive.is_empty() {
        if options.signals {
            sleep(Duration::from_micros(random.below(5000) as u64));
            signals::send(alive[random.below(alive.len())]);
        }
        if let Some((ended, well)) = os::wait(-1, !options.signals) {
            alive.retain(|&id| id != ended);
            wrong += usize::from(!well);
        }
    }
    wrong
}
