//! `run --kernel`: kernels of a few instructions, and what is said when one breaks down.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::command::{Ended, Running, bifold, run};
use crate::support::elf::{WRITE_BYTE, kernel};

/// A kernel in a file, in a folder of its own.
struct Kernel {
    path: PathBuf,
    _folder: TempDir,
}

impl Kernel {
    fn new(code: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.elf");
        fs::write(&path, kernel(code)).unwrap();
        Self { path, _folder: folder }
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = bifold(["run", "--kernel"]);
        command.arg(&self.path).args(options);
        command
    }

    fn run(&self) -> Ended {
        run(&mut self.command(&["--ram", "16M", "--timeout", "60"]))
    }
}

/// The guest broke: exit status 3, and standard error names the cause and shows registers and the code bytes.
#[track_caller]
fn broke(ended: Ended, cause: &str, code: &str) {
    let ended = ended.with_status(3);
    for wanted in [cause, "rip ", "cr3 ", code] {
        assert!(ended.err.contains(wanted), "wanted {wanted:?}: {}", ended.err);
    }
}

/// `mov dx, 0xf4; mov eax, word; out dx, eax; hlt`
fn exit_with(word: u32) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf4, 0x00, 0xb8];
    code.extend(word.to_le_bytes());
    code.extend([0xef, 0xf4]);
    code
}

#[test]
fn a_kernel_writes_to_the_serial_port_and_exits() {
    let ended = Kernel::new(&[WRITE_BYTE, &exit_with(0)].concat()).run().succeeded();
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("!", ""));
}

#[test]
fn a_kernel_is_given_its_boot_information_in_rsi() {
    let mut code = vec![
        0x48, 0x8b, 0x06, // mov rax, [rsi]
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    ];
    for _ in 0..6 {
        code.extend([0xee, 0x48, 0xc1, 0xe8, 8]); // out dx, al; shr rax, 8
    }
    code.extend(exit_with(0));
    assert_eq!(Kernel::new(&code).run().succeeded().out, "bifold");
}

#[test]
fn a_kernels_exit_status_is_the_commands() {
    Kernel::new(&exit_with(42)).run().with_status(42);
}

#[test]
fn an_exit_word_that_means_nothing_is_reported() {
    let ended = Kernel::new(&exit_with(0xdead_0000)).run().with_status(3);
    assert!(ended.err.contains("0xdead0000"), "{}", ended.err);
}

#[test]
fn a_triple_fault_is_reported_with_registers_and_code() {
    // push 0; push 0; lidt [rsp]; ud2
    let code = [0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b];
    // AMD's CPUs leave the guest's state undefined then, and KVM resets it (AMD64 manual, volume 2, 15.14.3).
    let amd = fs::read_to_string("/proc/cpuinfo").unwrap().split_whitespace().any(|flag| flag == "svm");
    broke(Kernel::new(&code).run(), "triple fault", if amd { "rip" } else { "0f 0b" });
}

#[test]
fn code_that_kvm_cannot_emulate_is_reported_with_registers() {
    // mov eax, 0xd8000000; jmp rax: there is no RAM to fetch from
    let code = [0xb8, 0x00, 0x00, 0x00, 0xd8, 0xff, 0xe0];
    broke(Kernel::new(&code).run(), "KVM", "00000000d8000000");
}

#[test]
fn a_kernel_that_never_ends_is_ended_by_the_time_limit() {
    // jmp $, and cli; hlt; jmp to hlt
    for code in [&[0xeb, 0xfe][..], &[0xfa, 0xf4, 0xeb, 0xfd]] {
        let ended = run(&mut Kernel::new(code).command(&["--timeout", "1"])).with_status(124);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.contains("in ring 0 at 0x"), "{}", ended.err);
    }
}

#[test]
fn ctrl_c_ends_a_kernel_that_never_ends() {
    // jmp $, and cli; hlt; jmp to hlt
    for end in [&[0xeb, 0xfe][..], &[0xfa, 0xf4, 0xeb, 0xfd]] {
        let kernel = Kernel::new(&[WRITE_BYTE, end].concat());
        let mut running = Running::start(&mut kernel.command(&["--timeout", "60"]));
        running.wait_for_output("!");
        running.signal(Signal::INT);
        running.wait().with_status(130);
    }
}
