//! Vector registers: which of them a program may use in the guest.

use kvm_bindings::CpuId;

/// Features that use registers which FXSAVE does not keep.
const BEYOND_SSE: &str =
    "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-FMA,-FMA4,-XSAVE,-XSAVEC";

/// What the environment of a program needs where KVM offers the guest no XSAVE: the guest kernel then keeps
/// only the SSE registers of a thread, yet the CPUID instruction may still show AVX to the program, which
/// libc would use.
#[must_use]
pub fn environment(cpuid: &CpuId) -> Option<&'static str> {
    const XSAVE: u32 = 1 << 26; // CPUID.1:ECX
    let features = cpuid.as_slice().iter().find(|answer| answer.function == 1)?;
    if features.ecx & XSAVE != 0 {
        return None;
    }
    log::info!("this host's KVM offers no XSAVE: the program is told to do without AVX ({BEYOND_SSE})");
    Some(BEYOND_SSE)
}
