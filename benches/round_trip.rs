//! What the ways of answering a host fault cost, before any pager's own work: a guest's program in ring 3 reads pages that
//! are not there, and each is answered with zeros
//!
//! - by the kernel: anonymous memory, no userfaultfd;
//! - by another thread, which waits for faults with open eyes;
//! - by another thread, which sleeps until there is one;
//! - by the vCPU's own thread: `UFFD_FEATURE_SIGBUS` makes KVM_RUN fail with EFAULT.
//!
//!     cargo bench --bench round_trip
//!
//! The ways take turns; a line has the medians, and their ratios to the first. The guest is 26 bytes of code: it has no kernel, so nothing but
//! the fault is measured. Its own thread is told which page it was by the guest's register; a real one would have
//! to decode the instruction at RIP and walk the guest's tables.

// A bench that cannot measure says why and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use abi::addr::{Hva, PAGE_SIZE};
use bifold::pager::uffd::{Message, Range, Uffd};
use kvm_bindings::{kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, SyncReg, VcpuExit, VcpuFd};

const MIB: usize = 1 << 20;
/// Page tables and code.
const LOW: usize = MIB;
/// What is read, and where the guest has it.
const DATA: usize = 64 * MIB;
const DATA_GPA: u64 = 1 << 30;
/// Nothing is there: a write ends the guest's run.
const END_GPA: u64 = 2 << 30;
const CODE: u64 = 0x8000;
const TURNS: usize = 11;

/// `next: mov rax, [rdi]; add rdi, 4096; cmp rdi, rsi; jb next; mov [rbx], eax; jmp .`
const PROGRAM: &[u8] = &[
    0x48, 0x8b, 0x07, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0x48, 0x39, 0xf7, 0x72, 0xf1, 0x89, 0x03,
    0xeb, 0xfe,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answerer {
    Kernel,
    Spinning,
    Sleeping,
    Own,
}

fn main() {
    let all = [
        (Answerer::Kernel, "the kernel"),
        (Answerer::Spinning, "another thread, which spins"),
        (Answerer::Sleeping, "another thread, which sleeps"),
        (Answerer::Own, "the vCPU's own thread (SIGBUS)"),
    ];
    let mut times = all.map(|_| Vec::new());
    for _ in 0..TURNS {
        for ((answerer, _), times) in all.iter().zip(&mut times) {
            times.push(measure(*answerer) / (DATA / PAGE_SIZE) as u32);
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    for ((_, name), median) in all.iter().zip(medians) {
        println!("{name:<32} {median:>6.1} us a page {:>6.2}", median / medians[0]);
    }
}

/// The time that the guest takes to read every page.
fn measure(answerer: Answerer) -> Duration {
    let low = map(LOW);
    let data = map(DATA);
    let kvm = Kvm::new().expect("/dev/kvm");
    let vm = kvm.create_vm().expect("a VM");
    for (slot, gpa, hva, bytes) in [(0, 0, low, LOW), (1, DATA_GPA, data, DATA)] {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: gpa,
            memory_size: bytes as u64,
            userspace_addr: hva.0,
        };
        // SAFETY: the mapping stays until the process ends.
        unsafe { vm.set_user_memory_region(region) }.expect("a memory slot");
    }
    let mut vcpu = vm.create_vcpu(0).expect("a vCPU");
    prepare(low, &mut vcpu);
    match answerer {
        Answerer::Kernel => run(&mut vcpu, |_| panic!("KVM_RUN fails")),
        Answerer::Own => {
            let fd = sigbus::open(data, DATA);
            run(&mut vcpu, |gva| sigbus::zero(&fd, Hva(data.0 + gva - DATA_GPA)))
        }
        Answerer::Spinning | Answerer::Sleeping => {
            let uffd = Uffd::open().unwrap_or_else(|error| panic!("{error}"));
            uffd.register(Range { start: data, bytes: DATA as u64 }, false).expect("a private mapping");
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| answer(&uffd, answerer == Answerer::Sleeping, data, &done));
                let time = run(&mut vcpu, |_| panic!("KVM_RUN fails"));
                done.store(true, Ordering::Relaxed);
                time
            })
        }
    }
}

/// Runs the guest to its end. `missing` brings in the page at a guest-virtual address.
fn run(vcpu: &mut VcpuFd, missing: impl Fn(u64)) -> Duration {
    vcpu.set_sync_valid_reg(SyncReg::Register);
    let start = Instant::now();
    loop {
        match vcpu.run() {
            Ok(VcpuExit::MmioWrite(END_GPA, _)) => return start.elapsed(),
            Ok(exit) => panic!("unexpected exit {exit:?}"),
            // Part of what KVM_RUN copies out: KVM_GET_REGS would load and put the vCPU once more.
            Err(error) if error.errno() == libc::EFAULT => missing(vcpu.sync_regs().regs.rdi),
            Err(error) => panic!("KVM_RUN: {error}"),
        }
    }
}

/// Answers every fault with zeros.
fn answer(uffd: &Uffd, sleeps: bool, data: Hva, done: &AtomicBool) {
    let zeros = map(PAGE_SIZE);
    let mut messages = [Message::default(); 16];
    while !done.load(Ordering::Relaxed) {
        if sleeps {
            uffd.wait().expect("faults");
        }
        for fault in uffd.read(&mut messages).expect("faults") {
            uffd.copy(fault.page, zeros).expect("a missing page");
            // Nothing wakes a sleeper after the last.
            if fault.page.0 == data.0 + (DATA - PAGE_SIZE) as u64 {
                return;
            }
        }
    }
}

/// Zeroed memory that nobody has touched.
fn map(bytes: usize) -> Hva {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
    // SAFETY: a new mapping, wherever the kernel puts it; it is never unmapped.
    unsafe {
        let start = mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        );
        let start = start.expect("address space");
        madvise(start, bytes, Advice::LinuxNoHugepage).expect("small pages");
        Hva(start as u64)
    }
}

/// Tables that map the first 3 GiB one to one for ring 3, in pages of 2 MiB, the program, and a CPU that is
/// about to run it.
fn prepare(low: Hva, vcpu: &mut VcpuFd) {
    const TABLES: u64 = 0x1000;
    const USER: u64 = 0b111;
    const HUGE: u64 = 1 << 7;
    let put = |at: u64, bytes: &[u8]| {
        // SAFETY: every place is within `LOW`, which is mapped and which nobody refers to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (low.0 + at) as *mut u8, bytes.len()) }
    };
    let entry = |table: u64, index: u64, value: u64| put(table + index * 8, &value.to_le_bytes());
    entry(TABLES, 0, (TABLES + 0x1000) | USER);
    for gib in 0..3 {
        let directory = TABLES + 0x2000 + gib * 0x1000;
        entry(TABLES + 0x1000, gib, directory | USER);
        (0..512).for_each(|index| entry(directory, index, (gib << 30) | (index << 21) | HUGE | USER));
    }
    put(CODE, PROGRAM);
    let mut sregs = vcpu.get_sregs().expect("registers");
    let segment = |selector, type_, long| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 3,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..kvm_segment::default()
    };
    sregs.cs = segment(0x33, 11, 1);
    sregs.ss = segment(0x2b, 3, 0);
    (sregs.ds, sregs.es) = (sregs.ss, sregs.ss);
    // Protection, paging; PAE; long mode, on and active.
    sregs.cr0 = 1 | 1 << 31 | 1 << 5;
    sregs.cr3 = TABLES;
    sregs.cr4 = 1 << 5;
    sregs.efer = 1 << 8 | 1 << 10;
    vcpu.set_sregs(&sregs).expect("registers");
    let mut regs = vcpu.get_regs().expect("registers");
    (regs.rip, regs.rflags) = (CODE, 2);
    (regs.rdi, regs.rsi, regs.rbx) = (DATA_GPA, DATA_GPA + DATA as u64, END_GPA);
    vcpu.set_regs(&regs).expect("registers");
}

/// A userfaultfd whose faults are errors of whoever touches the page, not messages. Bifold's own has no use for that.
mod sigbus {
    use std::io;

    use abi::addr::{Hva, PAGE_SIZE};

    const API: u64 = 0xaa;
    const FEATURE_SIGBUS: u64 = 1 << 7;
    const MODE_MISSING: u64 = 1;
    const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
    const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
    const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;

    /// Opens one for a range.
    pub fn open(start: Hva, bytes: usize) -> libc::c_int {
        // SAFETY: no memory is touched.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) } as libc::c_int;
        assert!(fd >= 0, "userfaultfd: {}", io::Error::last_os_error());
        ioctl(fd, UFFDIO_API, &mut [API, FEATURE_SIGBUS, 0]);
        ioctl(fd, UFFDIO_REGISTER, &mut [start.0, bytes as u64, MODE_MISSING, 0]);
        fd
    }

    /// Makes a missing page one of zeros.
    pub fn zero(fd: &libc::c_int, page: Hva) {
        ioctl(*fd, UFFDIO_ZEROPAGE, &mut [page.page_start().0, PAGE_SIZE as u64, 0, 0]);
    }

    fn ioctl<const N: usize>(fd: libc::c_int, request: libc::c_ulong, argument: &mut [u64; N]) {
        // SAFETY: each request is used with the structure whose size is part of its number, as 64-bit words.
        let result = unsafe { libc::ioctl(fd, request, argument.as_mut_ptr()) };
        assert!(result == 0, "userfaultfd {request:#x}: {}", io::Error::last_os_error());
    }
}
