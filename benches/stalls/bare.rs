//! The tick reader without a kernel: a guest of 80 bytes in ring 3, in which no timer ticks. What stops it is the host.

use std::time::{Duration, Instant};

use abi::addr::PAGE_SIZE;
use bifold::memory::{Backing, GuestRam, Size};
use bifold::pager::Pager;
use kvm_bindings::kvm_regs;
use vm_memory::{Bytes, GuestAddress};

use crate::bare_guest::{CALL_GPA, DATA_GPA, Guest, RESULTS, RESULTS_END};
use crate::{MILLISECONDS, paged};

#[rustfmt::skip]
const PROGRAM: &[u8] = &[
    // fill: mov al, [r8]; add r8, 4096; dec rcx; jnz fill
    0x41, 0x8a, 0x00, 0x49, 0x81, 0xc0, 0x00, 0x10, 0x00, 0x00, 0x48, 0xff, 0xc9, 0x75, 0xf1,
    // mov [rbx], eax: it is filled
    0x89, 0x03,
    // lfence; rdtsc; shl rdx, 32; or rax, rdx; mov r11, rax; add rsi, rax
    0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x49, 0x89, 0xc3, 0x48, 0x01, 0xc6,
    // next: lfence; rdtsc; shl rdx, 32; or rax, rdx; mov rdx, rax; sub rdx, r11; mov r11, rax
    0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc2, 0x4c, 0x29, 0xda, 0x49, 0x89, 0xc3,
    // cmp rdx, rdi; jb skip; mov [r10], rdx; add r10, 8; cmp r10, r12; jae end
    0x48, 0x39, 0xfa, 0x72, 0x0c, 0x49, 0x89, 0x12, 0x49, 0x83, 0xc2, 0x08, 0x4d, 0x39, 0xe2, 0x73, 0x05,
    // skip: cmp rax, rsi; jb next; end: mov [rbx], eax; jmp .
    0x48, 0x39, 0xf0, 0x72, 0xd5, 0x89, 0x03, 0xeb, 0xfe,
];

/// The gaps of a microsecond and more, in microseconds. With a budget in MiB, that is what the host's is lowered to meanwhile, and how long that
/// took is the other result.
pub fn run(mib: u64, budget: Option<u64>) -> (Vec<f64>, Option<Duration>) {
    let size = Size::mib(mib);
    let ram = GuestRam::backed(size, Some(Backing::Small)).expect("address space");
    let pager = fill(&ram);
    let registers = |ticks: f64| kvm_regs {
        r8: DATA_GPA,
        rcx: size.pages(),
        rbx: CALL_GPA,
        rdi: ticks as u64,
        rsi: (ticks * 1000.0) as u64 * MILLISECONDS,
        r10: RESULTS,
        r12: RESULTS_END,
        ..kvm_regs::default()
    };
    let mut guest = Guest::new(ram.regions()[0].start, size, PROGRAM, registers);
    guest.run(|_| panic!("KVM_RUN fails"));
    let lowering = std::thread::scope(|scope| {
        let lowering = scope.spawn(|| budget.map(|mib| lower(&pager, Size::mib(mib))));
        guest.run(|_| panic!("KVM_RUN fails"));
        lowering.join().expect("no panic")
    });
    let ticks = guest.ticks_a_microsecond();
    let most = (RESULTS_END - RESULTS) as usize / size_of::<u64>();
    let gaps = guest.results::<u64>(most).into_iter().take_while(|&gap| gap > 0);
    (gaps.map(|gap| gap as f64 / ticks).collect(), lowering)
}

/// Memory that is all there, each page another.
fn fill(ram: &GuestRam) -> Pager {
    let pager = paged::start(ram, ram.size());
    for number in 0..ram.size().pages() {
        let page = GuestAddress(number * PAGE_SIZE as u64);
        ram.memory().write_slice(&paged::content(number), page).expect("guest RAM");
    }
    pager
}

/// Lowers the budget and waits until it holds.
fn lower(pager: &Pager, budget: Size) -> Duration {
    // The reader reads by then.
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    pager.set_budget(budget).unwrap_or_else(|error| panic!("{error}"));
    while pager.stats().resident > pager.stats().budget {
        std::thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}
