//! What the ways of answering a host fault cost: a guest's program in ring 3 reads pages that are not there, and
//! each is answered
//!
//! - by the kernel, with zeros: anonymous memory, no userfaultfd;
//! - by another thread, which waits for faults with open eyes, with zeros: the bare round trip;
//! - by another thread, which sleeps until there is one, with zeros;
//! - by the vCPU's own thread, with zeros: `UFFD_FEATURE_SIGBUS` makes KVM_RUN fail with EFAULT;
//! - by Bifold's pager, from its store in memory, compressed by LZ4, while it evicts a page for each.
//!
//!     cargo bench --bench round_trip
//!
//! The ways take turns. The guest reads the time-stamp counter around each touch; a line has the median and the 99th percentile of all touches of all
//! turns. The last line is Bifold's median in bare round trips, each with the decompression of one page.

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/bare_guest.rs"]
mod bare_guest;
#[path = "../support/paged.rs"]
mod paged;
mod sigbus;
#[path = "../support/zeros.rs"]
mod zeros;

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use abi::addr::PAGE_SIZE;
use bifold::memory::{Backing, GuestRam, Size};
use bifold::pager::Pager;
use bifold::pager::uffd::{Range, Uffd};
use vm_memory::{Bytes, GuestAddress};

use bare_guest::{CALL_GPA, DATA_GPA, Guest, RESULTS, RESULTS_END};
use kvm_bindings::kvm_regs;

/// What the guest has, and how many pages of it are touched. They are [`APART`] each, so that none brings a neighbour
/// along.
const DATA: Size = Size::mib(256);
const TOUCHES: usize = 4096;
const APART: u64 = 16 * PAGE_SIZE as u64;
/// From one touch to the next: far, and each page once before the first again.
const STEP: u64 = 1237 * APART;
const _: () = assert!(RESULTS + 4 * TOUCHES as u64 <= RESULTS_END);

#[rustfmt::skip]
const PROGRAM: &[u8] = &[
    // next: lfence; rdtsc; mov r11d, eax
    0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x41, 0x89, 0xc3,
    // mov rax, [rdi + rcx]
    0x48, 0x8b, 0x04, 0x0f,
    // lfence; rdtsc; sub eax, r11d; mov [r10], eax; add r10, 4
    0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x44, 0x29, 0xd8, 0x41, 0x89, 0x02, 0x49, 0x83, 0xc2, 0x04,
    // add rcx, r8; and rcx, r9; dec rsi; jnz next
    0x4c, 0x01, 0xc1, 0x4c, 0x21, 0xc9, 0x48, 0xff, 0xce, 0x75, 0xda,
    // mov [rbx], eax; jmp .
    0x89, 0x03, 0xeb, 0xfe,
];

const TURNS: usize = 5;
/// What Bifold keeps resident: a quarter of what is touched.
const BUDGET: Size = Size::from_pages(TOUCHES as u32 / 4);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answerer {
    Kernel,
    Spinning,
    Sleeping,
    Own,
    Bifold,
}

const ANSWERERS: [(Answerer, &str); 5] = [
    (Answerer::Kernel, "the kernel, zeros"),
    (Answerer::Spinning, "a thread that spins, zeros"),
    (Answerer::Sleeping, "a thread that sleeps, zeros"),
    (Answerer::Own, "the vCPU's own thread, zeros"),
    (Answerer::Bifold, "Bifold's pager, LZ4"),
];

fn main() {
    let mut touches = ANSWERERS.map(|_| Vec::new());
    for _ in 0..TURNS {
        for ((answerer, _), touches) in ANSWERERS.iter().zip(&mut touches) {
            touches.extend(measure(*answerer));
        }
    }
    println!("{:<30} {:>8} {:>8}", "a host fault is answered by", "p50 us", "p99 us");
    let medians = touches.map(|mut touches| {
        touches.sort_by(f64::total_cmp);
        [touches[touches.len() / 2], touches[touches.len() * 99 / 100]]
    });
    for ((_, name), [median, p99]) in ANSWERERS.iter().zip(medians) {
        println!("{name:<30} {median:>8.1} {p99:>8.1}");
    }
    let page = decompression();
    let [_, [bare, _], _, _, [bifold, _]] = medians;
    let times = bifold / (bare + page);
    println!(
        "decompression of a page: {page:.1} us; Bifold's median is {times:.2} of the bare round trip and that"
    );
}

/// How long each touch of the guest took, in microseconds.
fn measure(answerer: Answerer) -> Vec<f64> {
    let ram = GuestRam::backed(DATA, Some(Backing::Small)).expect("address space");
    let data = ram.regions()[0].start;
    // It fills memory before the guest runs.
    let pager = (answerer == Answerer::Bifold).then(|| fill(&ram));
    let registers = kvm_regs {
        rdi: DATA_GPA,
        rsi: TOUCHES as u64,
        r8: STEP,
        r9: DATA.bytes() - 1,
        r10: RESULTS,
        rbx: CALL_GPA,
        ..kvm_regs::default()
    };
    let mut guest = Guest::new(data, DATA, PROGRAM, |_| registers);
    match answerer {
        Answerer::Kernel | Answerer::Bifold => guest.run(|_| panic!("KVM_RUN fails")),
        Answerer::Own => {
            let uffd = sigbus::Uffd::open(data, DATA.bytes());
            // A guest that is not ours would take more: the instruction's operand, and a walk through its tables.
            guest.run(|registers| uffd.zero(registers.rcx));
        }
        Answerer::Spinning | Answerer::Sleeping => {
            let uffd = Uffd::open().unwrap_or_else(|error| panic!("{error}"));
            let range = Range { start: data, bytes: DATA.bytes() };
            uffd.register(range, false).expect("a private mapping");
            thread::scope(|scope| {
                scope.spawn(|| zeros::answer(&uffd, TOUCHES as u64, answerer == Answerer::Sleeping));
                guest.run(|_| panic!("KVM_RUN fails"));
            });
        }
    }
    drop(pager);
    let ticks = guest.ticks_a_microsecond();
    guest.results::<u32>(TOUCHES).into_iter().map(|touch| f64::from(touch) / ticks).collect()
}

/// Where the guest touches its data, in order.
fn offsets() -> impl Iterator<Item = u64> {
    (0..TOUCHES as u64).map(|touch| touch * STEP % DATA.bytes())
}

/// Guest RAM whose pages were all written, and most are in the store.
fn fill(ram: &GuestRam) -> Pager {
    let pager = paged::start(ram, BUDGET);
    for offset in offsets() {
        ram.memory().write_slice(&paged::content(offset), GuestAddress(offset)).expect("guest RAM");
    }
    pager
}

/// What LZ4 takes to decompress such a page, in microseconds.
fn decompression() -> f64 {
    const PAGES: u64 = 256;
    let pages: Vec<_> = (0..PAGES).map(|seed| lz4_flex::block::compress(&paged::content(seed))).collect();
    let mut page = [0; PAGE_SIZE];
    let start = Instant::now();
    for compressed in &pages {
        lz4_flex::block::decompress_into(black_box(compressed), &mut page).expect("our own");
        black_box(&page);
    }
    start.elapsed().as_secs_f64() * 1e6 / PAGES as f64
}
