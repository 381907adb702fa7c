//! Keeps vector registers full across page faults and timer ticks and checks them: `simd SIZE [MILLISECONDS]`.
//!
//! All 16 registers are loaded, SIZE of memory is touched page by page (a fault each, if there is less RAM), and
//! then every register is compared; again and again for the time given (200 ms). SSE always; AVX if the CPU and the kernel
//! offer it. A register that changed ends the program with status 1.

use std::arch::asm;
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use programs::{PAGE, Page, Random, fail, map_pages, parse_size};

/// 16 registers of 32 bytes.
type Registers = [[u64; 4]; 16];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (size, ms) = match arguments.as_slice() {
        [size] => (parse_size(size), Some(200)),
        [size, ms] => (parse_size(size), ms.parse().ok()),
        _ => (None, None),
    };
    let (Some(size), Some(ms)) = (size, ms) else { fail("usage: simd SIZE [MILLISECONDS], such as simd 1M") };

    let memory = map_pages(size.div_ceil(PAGE));
    let mut random = Random::new(1);
    let avx = is_x86_feature_detected!("avx");
    let deadline = Instant::now() + Duration::from_millis(ms);
    let mut last = false;
    while !last {
        last = Instant::now() >= deadline;
        let loaded: Registers = [(); 16].map(|()| [(); 4].map(|()| random.next()));
        if !sse_survives(&loaded, memory) {
            println!("simd: an SSE register changed");
            return ExitCode::FAILURE;
        }
        if avx && !avx_survives(&loaded, memory) {
            println!("simd: an AVX register changed");
            return ExitCode::FAILURE;
        }
    }
    println!("registers unchanged: {}", if avx { "SSE and AVX" } else { "SSE" });
    ExitCode::SUCCESS
}

/// The code for one instruction set: load the registers, touch each page, store the registers.
macro_rules! round {
    ($move:literal, $register:literal, $loaded:expr, $memory:expr) => {{
        let mut stored: Registers = [[0; 4]; 16];
        // SAFETY: reads 512 bytes of `loaded`, writes 512 of `stored`, and adds to the first word of each page of
        // `memory`; all registers that it changes are named.
        unsafe {
            asm!(
                concat!(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n",
                    $move, " ", $register, "\\n, [{loaded} + 32 * \\n]\n.endr"),
                "test {pages}, {pages}",
                "jz 3f",
                "2: add qword ptr [{page}], 1",
                "add {page}, 4096",
                "dec {pages}",
                "jnz 2b",
                "3:",
                concat!(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n",
                    $move, " [{stored} + 32 * \\n], ", $register, "\\n\n.endr"),
                loaded = in(reg) $loaded.as_ptr(),
                stored = in(reg) stored.as_mut_ptr(),
                page = inout(reg) $memory.as_mut_ptr() => _,
                pages = inout(reg) $memory.len() => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            );
        }
        stored
    }};
}

fn sse_survives(loaded: &Registers, memory: &mut [Page]) -> bool {
    let stored = round!("movups", "xmm", loaded, memory);
    loaded.iter().zip(&stored).all(|(loaded, stored)| loaded[..2] == stored[..2])
}

/// Only to be called where the CPU and the kernel offer AVX.
fn avx_survives(loaded: &Registers, memory: &mut [Page]) -> bool {
    let stored = round!("vmovups", "ymm", loaded, memory);
    // SAFETY: as the caller promises, AVX is there. Mixing full registers with SSE code is slow.
    unsafe { asm!("vzeroupper", out("xmm0") _, options(nomem, nostack)) };
    *loaded == stored
}
