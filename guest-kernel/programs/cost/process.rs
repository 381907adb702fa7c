//! Operations of more than one process.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::ptr;

use programs::fail;

use super::cycles;

fn checked(result: i32) -> i32 {
    if result < 0 {
        fail(std::io::Error::last_os_error().to_string());
    }
    result
}

fn wait_for(child: i32) {
    // SAFETY: nobody wants the status.
    checked(unsafe { libc::waitpid(child, ptr::null_mut(), 0) });
}

fn exit() -> ! {
    // SAFETY: nothing of the process is needed any more.
    unsafe { libc::_exit(0) }
}

pub fn fork(rounds: usize) -> u64 {
    let once = || {
        // SAFETY: this program has one thread.
        match checked(unsafe { libc::fork() }) {
            0 => exit(),
            child => wait_for(child),
        }
    };
    once();
    cycles(|| (0..rounds).for_each(|_| once()))
}

/// A program that ends at once. A C library asks the CPU what it is when it starts, which in a guest is an exit for each question:
/// that is not what is measured.
fn nothing() -> Vec<u8> {
    /// Where it is loaded: the file as it is.
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov edi, 0; mov eax, exit_group; syscall
    const CODE: [u8; 12] = [0xbf, 0, 0, 0, 0, 0xb8, libc::SYS_exit_group as u8, 0, 0, 0, 0x0f, 0x05];
    let len = HEADERS + CODE.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let long = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    // The file's header: executable, x86-64, entry, one program header; then that: load, read and execute.
    image.extend(
        [half(&[2, 62, 1, 0]), long(&[BASE + HEADERS, 64, 0]), half(&[0, 0, 64, 56, 1, 0, 0, 0])].concat(),
    );
    image.extend([half(&[1, 0, 5, 0]), long(&[0, BASE, BASE, len, len, 4096])].concat());
    image.extend(CODE);
    image
}

/// A child that runs [`nothing`].
pub fn exec(rounds: usize) -> u64 {
    const PROGRAM: &str = "/tmp/nothing";
    let written = fs::write(PROGRAM, nothing())
        .and_then(|()| fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755)));
    if let Err(error) = written {
        fail(format!("{PROGRAM}: {error}"));
    }
    let Ok(path) = CString::new(PROGRAM) else { fail("a NUL in the path") };
    let argv = [path.as_ptr(), ptr::null()];
    let once = || {
        let child: i32;
        // SAFETY: the child runs another program at once, on the same stack but without a call that could change it: glibc's vfork may
        // not be used from Rust, and the system call by itself returns twice to here.
        unsafe {
            std::arch::asm!(
                "syscall",
                "test eax, eax",
                "jnz 2f",
                "mov eax, {execve}",
                "mov rdi, {path}",
                "mov rsi, {argv}",
                "xor edx, edx",
                "syscall",
                "mov eax, {exit}",
                "mov edi, 127",
                "syscall",
                "2:",
                execve = const libc::SYS_execve,
                exit = const libc::SYS_exit,
                path = in(reg) path.as_ptr(),
                argv = in(reg) argv.as_ptr(),
                inlateout("eax") libc::SYS_vfork as i32 => child,
                out("rdi") _, out("rsi") _, out("rdx") _, out("rcx") _, out("r11") _,
            );
        }
        if child < 0 {
            fail(std::io::Error::from_raw_os_error(-child).to_string());
        }
        wait_for(child);
    };
    once();
    cycles(|| (0..rounds).for_each(|_| once()))
}

fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: the array is ours to write.
    checked(unsafe { libc::pipe(ends.as_mut_ptr()) });
    ends
}

fn close(end: i32) {
    // SAFETY: a descriptor of ours that nobody uses any more.
    unsafe { libc::close(end) };
}

/// Reads a byte; false at the end.
fn take(from: i32) -> bool {
    let mut byte = 0u8;
    // SAFETY: the byte is ours to write.
    checked(unsafe { libc::read(from, (&raw mut byte).cast(), 1) } as i32) == 1
}

fn give(to: i32) {
    // SAFETY: a byte to read.
    checked(unsafe { libc::write(to, (&raw const to).cast(), 1) } as i32);
}

pub fn switch(rounds: usize) -> u64 {
    let ([there, to], [back, from]) = (pipe(), pipe());
    // SAFETY: this program has one thread.
    let child = checked(unsafe { libc::fork() });
    if child == 0 {
        // So the read ends when the parent is done.
        close(to);
        while take(there) {
            give(from);
        }
        exit();
    }
    let once = || {
        give(to);
        take(back);
    };
    once();
    let cycles = cycles(|| (0..rounds).for_each(|_| once()));
    [there, to, back, from].into_iter().for_each(close);
    wait_for(child);
    cycles
}

/// What `work` returns while a child has all memory in common that was not written since.
pub fn beside_a_child(work: impl FnOnce() -> u64) -> u64 {
    let [wait, tell] = pipe();
    // SAFETY: this program has one thread.
    let child = checked(unsafe { libc::fork() });
    if child == 0 {
        close(tell);
        take(wait);
        exit();
    }
    let result = work();
    [wait, tell].into_iter().for_each(close);
    wait_for(child);
    result
}
