//! Ends in the way that it is told to: `crash WAY`, see [`WAYS`], or `crash N` to exit with status N.
//!
//! Each way is one instruction or a few, so that what the CPU and the kernel do with it is all that happens.

use std::arch::asm;
use std::env;
use std::process;

use programs::fail;

/// Every way to end, and the signal that it ends with.
const WAYS: &[(&str, fn())] = &[
    ("null", null),                     // SIGSEGV
    ("write-text", write_text),         // SIGSEGV
    ("run-data", run_data),             // SIGSEGV
    ("wild-jump", wild_jump),           // SIGSEGV
    ("kernel-address", kernel_address), // SIGSEGV
    ("non-canonical", non_canonical),   // SIGSEGV
    ("below-stack", below_stack),       // SIGSEGV
    ("recursion", recursion),           // SIGSEGV
    ("privileged", privileged),         // SIGSEGV
    ("bad-opcode", bad_opcode),         // SIGILL
    ("divide", divide),                 // SIGFPE
    ("breakpoint", breakpoint),         // SIGTRAP
    ("abort", abort),                   // SIGABRT
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way] = arguments.as_slice() else { usage() };
    if let Ok(status) = way.parse() {
        process::exit(status);
    }
    let Some((_, end)) = WAYS.iter().find(|(name, _)| name == way) else { usage() };
    // Rust's runtime handles SIGSEGV to report a stack overflow; the signal itself is wanted here.
    // SAFETY: the default disposition runs no code of this program.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    end();
    fail(format!("crash: {way} did not end the program"));
}

fn usage() -> ! {
    let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).collect();
    fail(format!("usage: crash STATUS | {}", names.join(" | ")))
}

fn null() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("mov {0}, [0]", out(reg) _) };
}

fn write_text() {
    let text = null as fn() as usize;
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("mov byte ptr [{0}], 0x90", in(reg) text) };
}

fn run_data() {
    let data = [0xc3u8; 16]; // ret
    // SAFETY: not sound; the fault is the purpose. If the stack can run, it returns at once.
    unsafe { asm!("call {0}", in(reg) data.as_ptr(), clobber_abi("C")) };
}

fn wild_jump() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("jmp {0}", in(reg) 0x1234_5678_9000usize) };
}

fn kernel_address() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) 0xffff_ffff_8000_0000usize => _) };
}

fn non_canonical() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) 0x8000_0000_0000_0000usize => _) };
}

/// 16 MiB below the stack pointer: further than a stack may be (RLIMIT_STACK is 8 MiB).
fn below_stack() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("mov byte ptr [rsp - 0x1000000], 1") };
}

fn recursion() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("2: push rax", "jmp 2b", options(noreturn)) };
}

fn privileged() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("cli") };
}

fn bad_opcode() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("ud2") };
}

fn divide() {
    // SAFETY: not sound; the fault is the purpose.
    unsafe { asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _) };
}

fn breakpoint() {
    // SAFETY: without a debugger the trap ends the program; with one it goes on.
    unsafe { asm!("int3") };
}

fn abort() {
    process::abort();
}
