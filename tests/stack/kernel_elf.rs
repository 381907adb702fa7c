//! The guest kernel's image: what the compiler and the linker must not have put into it.

use std::process::Command;

use crate::support::command::run;
use crate::support::guests::tool;

const KERNEL: &str = env!("BIFOLD_KERNEL");

fn disassembly() -> String {
    run(Command::new(tool("objdump", "binutils")).args(["-d", "--no-show-raw-insn", KERNEL])).succeeded().out
}

/// `readelf`'s lines for the program headers of the types in `wanted`.
fn program_headers(wanted: &[&str]) -> Vec<String> {
    let headers = run(Command::new(tool("readelf", "binutils")).args(["-lW", KERNEL])).succeeded().out;
    headers
        .lines()
        .filter(|line| line.split_whitespace().next().is_some_and(|kind| wanted.contains(&kind)))
        .map(str::to_owned)
        .collect()
}

/// The kernel saves no vector registers on entry, so it must not use any. Saving and restoring them for programs
/// (fxsave, xsave) names none.
#[test]
fn the_kernel_uses_no_vector_or_x87_register() {
    let disassembly = disassembly();
    let used: Vec<_> = disassembly
        .lines()
        .filter(|line| ["%xmm", "%ymm", "%zmm", "%mm", "%st"].iter().any(|r| line.contains(r)))
        .collect();
    assert!(used.is_empty(), "{used:#?}");
}

/// An interrupt pushes its frame right below the stack pointer: nothing may live there.
#[test]
fn the_kernel_uses_no_red_zone() {
    let disassembly = disassembly();
    assert!(disassembly.contains("(%rsp)"), "this is a disassembly in AT&T syntax");
    let below: Vec<_> = disassembly
        .lines()
        .filter(|line| {
            // With an index register (the end of an array on the stack) the offset alone says nothing.
            let (before, rest) = line.split_once("(%rsp").unwrap_or_default();
            rest.starts_with(')')
                && !line.contains("lea ")
                && before.rsplit([' ', ',']).next().is_some_and(|offset| offset.starts_with("-0x"))
        })
        .collect();
    assert!(below.is_empty(), "{below:#?}");
}

#[test]
fn the_kernel_needs_no_loader() {
    assert_eq!(program_headers(&["INTERP", "DYNAMIC"]), [""; 0]);
}

#[test]
fn no_segment_of_the_kernel_is_both_writable_and_executable() {
    let load = program_headers(&["LOAD"]);
    assert!(!load.is_empty());
    for line in load {
        // Type Offset VirtAddr PhysAddr FileSiz MemSiz Flg (one to three words) Align
        let flags = line.split_whitespace().skip(6).collect::<String>();
        assert!(!(flags.contains('W') && flags.contains('E')), "{line}");
    }
}
