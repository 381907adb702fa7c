//! What `bifold explore` runs in its guests: `explore EXPERIMENT [ARGUMENTS]`, on any Linux.
//!
//! Each experiment does something that a kernel's paging answers, looks at it through /proc and getrusage as
//! any program can, and prints what it found as records: a line each, a word and `name=value` pairs with tabs
//! between them. Frame numbers are only shown to a program that may see them (pagemap needs root on Linux).

#[path = "explore/array.rs"]
mod array;
#[path = "explore/bits.rs"]
mod bits;
#[path = "explore/chase.rs"]
mod chase;
#[path = "explore/context_switch.rs"]
mod context_switch;
#[path = "explore/cow.rs"]
mod cow;
#[path = "explore/crowd.rs"]
mod crowd;
#[path = "explore/fault_costs.rs"]
mod fault_costs;
#[path = "explore/faults.rs"]
mod faults;
#[path = "explore/first_output.rs"]
mod first_output;
#[path = "explore/isolation.rs"]
mod isolation;
#[path = "explore/layout.rs"]
mod layout;
#[path = "explore/limits.rs"]
mod limits;
#[path = "explore/mapped_files.rs"]
mod mapped_files;
#[path = "explore/memory.rs"]
mod memory;
#[path = "explore/page_tables.rs"]
mod page_tables;
#[path = "explore/proc.rs"]
mod proc;
#[path = "explore/record.rs"]
mod record;
#[path = "explore/references.rs"]
mod references;
#[path = "explore/shared_memory.rs"]
mod shared_memory;
#[path = "explore/stack.rs"]
mod stack;
#[path = "explore/swap.rs"]
mod swap;
#[path = "explore/thrash.rs"]
mod thrash;
#[path = "explore/timing.rs"]
mod timing;
#[path = "explore/visits.rs"]
mod visits;

use std::env;

use programs::fail;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["areas", file] => layout::run(file),
        ["bits"] => bits::run(),
        ["context-switch", rounds, pages] => context_switch::run(number(rounds), number(pages)),
        ["cow", pages] => cow::run(number(pages)),
        ["crowd", processes, pages, rounds] => crowd::run(number(processes), number(pages), number(rounds)),
        ["eviction", pages, file] => swap::evict(number(pages), file),
        ["fault-costs", samples, file] => fault_costs::run(number(samples), file),
        ["host-faults", pages] => fault_costs::host(number(pages)),
        ["faults", pages, file] => faults::run(number(pages), file),
        ["first-output", program] => first_output::run(program),
        ["huge-pages", pages, updates] => array::run(number(pages), number(updates)),
        ["isolation"] => isolation::run(),
        ["limits", pages, limit, rounds] => limits::run(number(pages), number(limit), number(rounds)),
        ["mapped-files", file] => mapped_files::run(file),
        ["page-tables"] => page_tables::run(),
        ["references", file] => references::run(file),
        ["shared-memory"] => shared_memory::run(),
        ["stack"] => stack::run(),
        ["swap", pages] => swap::run(number(pages)),
        ["thrash", processes, pages, ms] => thrash::run(number(processes), number(pages), number(ms) as u64),
        ["tlb", pages] => chase::run(number(pages)),
        ["visits", pages, rounds, order] => visits::run(number(pages), number(rounds), order),
        // For an experiment that starts a program.
        ["nothing"] => {}
        _ => fail("usage: explore EXPERIMENT [ARGUMENTS], such as explore cow 256; the source lists them"),
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| fail(format!("{text} is not a number")))
}
