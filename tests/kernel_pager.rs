//! `--host-pager kernel`: the budget kept by the host's own kernel, on swap that is made for it.
//!
//! It switches the host's swap on and off, which takes root and zram and should happen beside nothing else:
//! so it runs only when asked for, `cargo test --test kernel_pager -- --ignored`, as .ci/run does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "stack/support/host_swap.rs"]
mod host_swap;

#[path = "support/pager.rs"]
mod pager_support;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use abi::addr::PAGE_SIZE;
use bifold::memory::{GuestRam, Size};
use bifold::pager::{KernelPager, Word};
use host_swap::{HostSwap, is_on};
use pager_support::must_not_fail;
use paging::policy::PolicyKind;
use serde_json::Value;
use vm_memory::{Bytes, GuestAddress};

const WALK: &str = env!("BIFOLD_PROGRAM_WALK");
/// The longest that anything may take: far more than it needs, and yet an end.
const LIMIT: Duration = Duration::from_secs(100);

/// One test, so that nothing runs beside it.
#[test]
#[ignore = "switches the host's swap on: as root, cargo test --test kernel_pager -- --ignored"]
fn the_hosts_kernel_keeps_the_budget_on_swap_of_its_own() {
    assert!(!is_on(), "this host has swap on: swapoff -a");
    let areas: [&dyn Fn() -> Result<HostSwap, String>; 2] =
        [&|| HostSwap::zram(256 << 20), &|| HostSwap::file(256 << 20, env!("CARGO_TARGET_TMPDIR").as_ref())];
    for switch_on in areas {
        let swap = switch_on().unwrap_or_else(|error| panic!("{error}"));
        every_page_comes_back_and_a_changed_budget_holds();
        a_program_in_a_guest_gives_the_same_answer_within_the_budget();
        drop(swap);
        assert!(!is_on(), "it was switched off again");
    }
}

fn every_page_comes_back_and_a_changed_budget_holds() {
    let ram = GuestRam::new(Size::mib(64)).expect("a little memory");
    let address = |page: u64| GuestAddress(page * PAGE_SIZE as u64);
    for policy in PolicyKind::ALL {
        // The thread here is not held: it waits for the budget itself.
        let tell = |word| {
            if let Word::Failed(error) = word {
                must_not_fail(error);
            }
        };
        let pager = KernelPager::start(&ram, Size::mib(16), policy, tell);
        let pager = pager.unwrap_or_else(|error| panic!("{error}"));
        let holds = |budget: Size| {
            let start = Instant::now();
            while pager.stats().resident > budget.pages() {
                assert!(start.elapsed() < LIMIT, "{policy}: {:?}", pager.stats());
                std::thread::yield_now();
            }
        };
        let pages = ram.size().pages();
        (0..pages).for_each(|page| ram.memory().write_obj(page ^ 0x5555, address(page)).expect("guest RAM"));
        holds(Size::mib(16));
        pager.set_budget(Size::mib(4)).expect("a good budget");
        holds(Size::mib(4));
        for page in 0..pages {
            assert_eq!(ram.memory().read_obj::<u64>(address(page)).expect("guest RAM"), page ^ 0x5555);
        }
        let stats = pager.stats();
        // From a file the kernel reads ahead, so most faults are minor.
        assert!(stats.major >= pages / 64, "{policy}: {stats:?}");
        assert!(
            stats.evicted_dirty > 0 && stats.resident_peak >= Size::mib(16).pages(),
            "{policy}: {stats:?}"
        );
    }
}

fn a_program_in_a_guest_gives_the_same_answer_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut bifold = Command::new(env!("CARGO_BIN_EXE_bifold"));
    bifold.args(["run", "--ram=160M", "--guest-page=2m", "--host-ram=16M", "--host-pager=kernel", "--stats"]);
    bifold.arg("--json").arg(&report).args(["--", WALK, "96M", "random", "write", "2"]);
    let output = bifold.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let native = Command::new(WALK).args(["96M", "random", "write", "2"]).output().unwrap();
    assert_eq!(output.stdout, native.stdout);
    let stats = String::from_utf8_lossy(&output.stderr);
    assert!(stats.contains("host pager: kernel, budget 4 096 (16.0 MiB)"), "{stats}");
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["host_pager"], "kernel");
    assert!(report["host"]["major_faults"].as_u64().unwrap() > 100, "{report:#}");
    // The kernel brings pages in faster than a thread puts them out: a guest that is not held has up to 60 MiB.
    let peak = report["host"]["resident_peak"].as_u64().unwrap();
    assert!((Size::mib(15).pages()..Size::mib(32).pages()).contains(&peak), "{report:#}");
}
