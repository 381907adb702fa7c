//! A guest without a kernel, for benches: page tables, a few bytes of code in ring 3, and memory that it touches. No
//! timer ticks in it, and no other work than the code's is in what it measures.

use abi::addr::Hva;
use bifold::memory::{Backing, GuestRam, Size};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, SyncReg, VcpuExit, VcpuFd, VmFd};
use vm_memory::{ByteValued, Bytes, GuestAddress};

/// Where its data is; at most a GiB.
pub const DATA_GPA: u64 = 1 << 30;
/// Where it leaves results: up to [`RESULTS_END`].
pub const RESULTS: u64 = 0x10000;
pub const RESULTS_END: u64 = LOW.bytes();
/// Nothing is there: a write of its gives the host the word.
pub const CALL_GPA: u64 = 2 << 30;

/// Page tables, code and results.
const LOW: Size = Size::mib(4);
const TABLES: u64 = 0x1000;
const CODE: u64 = 0x8000;

/// The guest.
pub struct Guest {
    low: GuestRam,
    vcpu: VcpuFd,
    _vm: VmFd,
}

impl Guest {
    /// One with `size` of memory at `data`, which is to outlive it, about to run `code`. `registers` is given the ticks that the
    /// time-stamp counter makes in a microsecond.
    pub fn new(data: Hva, size: Size, code: &[u8], registers: impl FnOnce(f64) -> kvm_regs) -> Self {
        let low = GuestRam::backed(LOW, Some(Backing::Small)).expect("a little memory");
        let kvm = Kvm::new().expect("/dev/kvm");
        let vm = kvm.create_vm().expect("a VM");
        let start = low.regions()[0].start;
        for (slot, gpa, hva, size) in [(0, 0, start, LOW), (1, DATA_GPA, data, size)] {
            let region = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: gpa,
                memory_size: size.bytes(),
                userspace_addr: hva.0,
            };
            // SAFETY: both mappings outlive the guest; nobody refers to what is in them while it runs.
            unsafe { vm.set_user_memory_region(region) }.expect("a memory slot");
        }
        let vcpu = vm.create_vcpu(0).expect("a vCPU");
        // Long mode is a feature.
        let features = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).expect("the host's features");
        vcpu.set_cpuid2(&features).expect("the host's own features");
        let mut guest = Self { low, vcpu, _vm: vm };
        guest.low.memory().write_slice(code, GuestAddress(CODE)).expect("within LOW");
        guest.map();
        guest.enter_ring_3(registers(guest.ticks_a_microsecond()));
        guest
    }

    /// Tables that map the first 3 GiB one to one for ring 3, in pages of 2 MiB.
    fn map(&self) {
        const USER: u64 = 0b111;
        const HUGE: u64 = 1 << 7;
        let put = |at: u64, value: u64| {
            self.low.memory().write_obj(value, GuestAddress(at)).expect("within LOW");
        };
        put(TABLES, (TABLES + 0x1000) | USER);
        for gib in 0..3 {
            let directory = TABLES + 0x2000 + gib * 0x1000;
            put(TABLES + 0x1000 + gib * 8, directory | USER);
            (0..512).for_each(|index| put(directory + index * 8, (gib << 30) | (index << 21) | HUGE | USER));
        }
    }

    fn enter_ring_3(&mut self, registers: kvm_regs) {
        let mut sregs = self.vcpu.get_sregs().expect("registers");
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
        // Protection, numeric errors, paging; PAE; long mode, on and active.
        (sregs.cr0, sregs.cr4, sregs.efer) = (1 | 1 << 5 | 1 << 31, 1 << 5, 1 << 8 | 1 << 10);
        sregs.cr3 = TABLES;
        self.vcpu.set_sregs(&sregs).expect("registers");
        self.vcpu.set_regs(&kvm_regs { rip: CODE, rflags: 2, ..registers }).expect("registers");
    }

    /// Runs it until it calls. `missing` is for a page without which KVM_RUN fails, and is given the registers at that
    /// instruction.
    pub fn run(&mut self, missing: impl Fn(&kvm_regs)) {
        self.vcpu.set_sync_valid_reg(SyncReg::Register);
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::MmioWrite(CALL_GPA, _)) => return,
                Ok(exit) => panic!("unexpected exit {exit:?}"),
                Err(error) if error.errno() == libc::EFAULT => missing(&self.vcpu.sync_regs().regs),
                Err(error) => panic!("KVM_RUN: {error}"),
            }
        }
    }

    /// How many ticks its time-stamp counter makes in a microsecond.
    pub fn ticks_a_microsecond(&self) -> f64 {
        f64::from(self.vcpu.get_tsc_khz().expect("the time-stamp counter's frequency")) / 1000.0
    }

    /// The first of its results, as many as asked for.
    pub fn results<T: ByteValued>(&self, count: usize) -> Vec<T> {
        let at = |number: usize| GuestAddress(RESULTS + (number * size_of::<T>()) as u64);
        (0..count).map(|number| self.low.memory().read_obj(at(number)).expect("within LOW")).collect()
    }
}
