//! The Intel machine: Bochs, a CPU with virtualization (VMX) and nested paging (EPT). It boots from a CD, which is
//! made for each job. All its files are memory without a name, so that none can be left behind.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::LabError;
use super::child;
use super::emulator::Emulator;
use super::initrd::Initrd;
use super::machine::Machine;
use super::parts::{Bochs, Kernel};

/// Instructions that take one second of the machine's time.
const INSTRUCTIONS_PER_SECOND: u32 = 100_000_000;

/// Starts the machine. It dies with this thread. Nothing can be sent to its channel.
///
/// # Errors
/// The CD cannot be made, or Bochs cannot be started.
pub fn start(
    machine: &Machine,
    bochs: &Bochs,
    kernel: &Kernel,
    initrd: &Initrd,
) -> Result<Emulator, LabError> {
    let cd = make_cd(machine, bochs, kernel, initrd)?;
    let start = |error| LabError::Start { program: bochs.program(), error };
    let (console, console_end) = io::pipe().map_err(start)?;
    let (channel, channel_end) = io::pipe().map_err(start)?;
    let settings = settings(machine, bochs, cd.as_fd(), console_end.as_fd(), channel_end.as_fd());
    let settings = memory_file(settings.as_bytes()).map_err(start)?;
    // Debian's Bochs is its debugger, which waits for commands: c is "continue".
    let commands = memory_file(b"c\n").map_err(start)?;
    let (screen, terminal) = open_terminal().map_err(start)?;
    let mut command = bochs.command();
    command
        .args(["-q", "-f", &path(settings.as_fd()), "-rc", &path(commands.as_fd())])
        .env("TERM", "vt100")
        .stdin(Stdio::from(terminal.try_clone().map_err(start)?))
        .stdout(Stdio::from(terminal))
        .stderr(Stdio::from(console_end.try_clone().map_err(start)?));
    let inherited =
        [cd.as_fd(), settings.as_fd(), commands.as_fd(), console_end.as_fd(), channel_end.as_fd()];
    let child = child::spawn(&mut command, &inherited).map_err(start)?;
    // The screen shows nothing of use, but Bochs would wait for it to be read.
    thread::spawn(move || io::copy(&mut File::from(screen), &mut io::sink()));
    let [channel, console] = [channel, console].map(|pipe| File::from(OwnedFd::from(pipe)));
    Ok(Emulator { child, channel, console: vec![console] })
}

/// Bochs's configuration: its bochsrc(5).
fn settings(
    machine: &Machine,
    bochs: &Bochs,
    cd: BorrowedFd<'_>,
    console: BorrowedFd<'_>,
    channel: BorrowedFd<'_>,
) -> String {
    format!(
        "config_interface: textconfig\n\
         display_library: term\n\
         memory: guest={megabytes}, host={megabytes}\n\
         cpu: model=tigerlake, count=1, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0\n\
         clock: sync=none, time0=1700000000\n\
         romimage: file={bios}\n\
         vgaromimage: file={vga_bios}\n\
         ata0-master: type=cdrom, path={cd}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev={console}\n\
         com2: enabled=1, mode=file, dev={channel}\n\
         log: {console}\n\
         panic: action=fatal\n\
         error: action=ignore\n\
         info: action=ignore\n",
        megabytes = machine.memory.bytes() >> 20,
        bios = bochs.file("usr/share/bochs/BIOS-bochs-latest").display(),
        vga_bios = bochs.file("usr/share/vgabios/vgabios.bin").display(),
        cd = path(cd),
        console = path(console),
        channel = path(channel),
    )
}

/// A CD with the kernel, the initrd and a boot loader that starts them.
fn make_cd(machine: &Machine, bochs: &Bochs, kernel: &Kernel, initrd: &Initrd) -> Result<File, LabError> {
    let make = LabError::file("make", Path::new("the lab's CD"));
    let menu = format!(
        "default lab\nlabel lab\n kernel /kernel\n append initrd=/initrd {}\n",
        machine.kernel_command_line()
    );
    let loader_path = bochs.file("usr/lib/ISOLINUX/isolinux.bin");
    let made = || -> io::Result<(Command, [File; 3])> {
        // A copy: genisoimage writes the table of boot information into it.
        let loader = memory_file(&std::fs::read(&loader_path)?)?;
        let menu = memory_file(menu.as_bytes())?;
        let cd = memory_file(&[])?;
        let mut command = Command::new(bochs.file("usr/bin/genisoimage"));
        command
            .args([
                "-quiet",
                "-f",
                "-graft-points",
                "-no-emul-boot",
                "-boot-load-size",
                "4",
                "-boot-info-table",
            ])
            .args(["-b", "isolinux.bin", "-c", "boot.cat", "-o", &path(cd.as_fd())])
            .arg(format!("isolinux.bin={}", path(loader.as_fd())))
            .arg(format!("isolinux.cfg={}", path(menu.as_fd())))
            .arg(format!("ldlinux.c32={}", bochs.file("usr/lib/syslinux/modules/bios/ldlinux.c32").display()))
            .arg(format!("kernel={}", kernel.image.display()))
            .arg(format!("initrd={}", path(initrd.memory())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok((command, [cd, loader, menu]))
    };
    let (mut command, [cd, loader, menu]) = made().map_err(make)?;
    let start = |error| LabError::Start { program: bochs.file("usr/bin/genisoimage"), error };
    let inherited = [cd.as_fd(), loader.as_fd(), menu.as_fd(), initrd.memory()];
    let output =
        child::spawn(&mut command, &inherited).and_then(|child| child.wait_with_output()).map_err(start)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("genisoimage failed").to_owned();
        return Err(LabError::Failure(last));
    }
    Ok(cd)
}

/// A file in memory that goes with its last descriptor.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("lab", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// How a process that inherits a descriptor opens it by name.
fn path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// A terminal for Bochs's display, which wants one: the end to read from, and the terminal itself.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&screen)?;
    unlockpt(&screen)?;
    let name = ptsname(&screen, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((screen, terminal))
}
