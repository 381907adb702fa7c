//! The floating-point and vector registers of a thread. The kernel never uses them, so they change hands only when threads do.
//!
//! Where the VMM's KVM offers no XSAVE, only those of SSE can be kept. The CPUID instruction may still show AVX to programs there: they
//! are started with an environment that tells the common run-time libraries to do without.

use alloc::boxed::Box;
use alloc::vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::features::Features;

/// What `fxsave` writes, and the header that `xsave` puts behind it.
const LEGACY_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;

/// The parts that `xsave` saves; 0 where only `fxsave` can be used.
static PARTS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(LEGACY_BYTES);

/// Chooses how the registers are saved. Once, at boot.
pub fn init(features: &Features) {
    if features.xcr0 != 0 {
        PARTS.store(features.xcr0, Ordering::Relaxed);
        BYTES.store((features.xsave_bytes as usize).max(LEGACY_BYTES + HEADER_BYTES), Ordering::Relaxed);
    }
}

/// What the environment of every program has to have, unless it has its own opinion.
#[must_use]
pub fn environment() -> &'static [&'static [u8]] {
    if PARTS.load(Ordering::Relaxed) != 0 {
        return &[];
    }
    &[
        b"GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-AVX512BW,-FMA,-FMA4,-XSAVE,-XSAVEC",
        b"GODEBUG=cpu.avx=off,cpu.avx2=off,cpu.fma=off",
    ]
}

/// Room in the alignment that `xsave` wants.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A thread's registers while another one runs.
#[derive(Clone)]
pub struct VectorState(Box<[Line]>);

impl VectorState {
    /// As a program finds them at its start: everything zero, all exceptions masked.
    #[must_use]
    pub fn new() -> Self {
        /// Where the control words are and what they start with (Intel SDM volume 1, 8.1.5 and 10.2.3).
        const FCW: (usize, u16) = (0, 0x37f);
        const MXCSR: (usize, u16) = (24, 0x1f80);
        let lines = BYTES.load(Ordering::Relaxed).div_ceil(size_of::<Line>());
        let mut state = Self(vec![Line([0; 64]); lines].into_boxed_slice());
        for (at, word) in [FCW, MXCSR] {
            state.0[0].0[at..at + 2].copy_from_slice(&word.to_le_bytes());
        }
        state
    }

    /// The bytes, for a signal's frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: lines are bytes without padding, and live as long as the borrow.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&*self.0)) }
    }

    /// Takes what a signal's frame gives back, but nothing that the CPU would refuse: control bits that are reserved, parts
    /// that are not managed, a header in another form. `bytes` is as long as [`VectorState::bytes`].
    pub fn replace(&mut self, bytes: &[u8]) {
        /// MXCSR's bits, but those that are reserved.
        const MXCSR_BITS: u32 = 0xffff;
        for (line, bytes) in self.0.iter_mut().zip(bytes.chunks_exact(64)) {
            line.0.copy_from_slice(bytes);
        }
        let mxcsr = &mut self.0[0].0[24..28];
        let allowed = u32::from_le_bytes([mxcsr[0], mxcsr[1], mxcsr[2], mxcsr[3]]) & MXCSR_BITS;
        mxcsr.copy_from_slice(&allowed.to_le_bytes());
        if let Some(header) = self.0.get_mut(LEGACY_BYTES / 64) {
            let mut parts = [0; 8];
            parts.copy_from_slice(&header.0[..8]);
            let allowed = u64::from_le_bytes(parts) & PARTS.load(Ordering::Relaxed);
            header.0 = [0; 64];
            header.0[..8].copy_from_slice(&allowed.to_le_bytes());
        }
    }

    /// Takes what the CPU has.
    pub fn save(&mut self) {
        let parts = PARTS.load(Ordering::Relaxed);
        let to = self.0.as_mut_ptr();
        // SAFETY: the room is aligned and as large as the CPU said that these parts are.
        unsafe {
            if parts == 0 {
                asm!("fxsave64 [{}]", in(reg) to, options(nostack));
            } else {
                asm!("xsave64 [{}]", in(reg) to, in("eax") parts as u32, in("edx") (parts >> 32) as u32, options(nostack));
            }
        }
    }

    /// Gives it to the CPU.
    pub fn restore(&self) {
        let parts = PARTS.load(Ordering::Relaxed);
        let from = self.0.as_ptr();
        // SAFETY: written by `save` or made by `new`, or checked by `replace`: the CPU takes each of them without a fault.
        unsafe {
            if parts == 0 {
                asm!("fxrstor64 [{}]", in(reg) from, options(nostack));
            } else {
                asm!("xrstor64 [{}]", in(reg) from, in("eax") parts as u32, in("edx") (parts >> 32) as u32, options(nostack));
            }
        }
    }
}

impl Default for VectorState {
    fn default() -> Self {
        Self::new()
    }
}
