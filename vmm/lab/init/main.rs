//! Process 1 of the lab: makes the file systems, loads KVM's modules, runs the commands and reports how they
//! ended. It carries their standard streams over the serial port, so that a pipe on the host is a pipe here.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use lab_init::{Command, Frame, HugePages, Module, Spec};
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// Mounted before anything else: type, mount point. The rest, /tmp included, is the root's tmpfs, where the
/// job's files already are.
const FILE_SYSTEMS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
];

/// What programs expect beside the devices: name, target.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];
/// Bytes of a file that go in one frame.
const PIECE: usize = 32 << 10;

/// MODULE_INIT_COMPRESSED_FILE of linux/module.h: the kernel decompresses the file.
const COMPRESSED_FILE: i32 = 4;

fn main() {
    let channel = make_file_systems().and_then(|()| open_channel());
    let ended = match channel {
        Ok(channel) => report(&channel),
        // The console is all that is left to say it on.
        Err(reason) => Err(reason),
    };
    if let Err(reason) = ended {
        eprintln!("lab: {reason}");
    }
    // The lab's host ends the machine once it has the last frame; this is for a host that has gone.
    let _ = reboot(RebootCommand::PowerOff);
}

/// Sends the last frame: how it all ended.
fn report(channel: &File) -> Result<(), String> {
    let last = run(channel).map_or_else(Frame::Failure, Frame::Exit);
    let sent = last.send(&mut &*channel).and_then(|()| Ok(tcdrain(channel)?));
    sent.map_err(|error| format!("cannot send {last:?}: {error}"))
}

fn make_file_systems() -> Result<(), String> {
    for &(kind, at) in FILE_SYSTEMS {
        fs::create_dir_all(at).map_err(|error| format!("cannot make {at}: {error}"))?;
        mount(kind, at, kind, MountFlags::empty(), None)
            .map_err(|error| format!("cannot mount {kind} on {at}: {error}"))?;
    }
    for &(link, target) in LINKS {
        symlink(target, link).map_err(|error| format!("cannot link {link}: {error}"))?;
    }
    // By itself it takes half of the memory; what the job stores in /tmp may need more.
    mount_remount("/", MountFlags::empty(), c"size=80%")
        .map_err(|error| format!("cannot enlarge the root: {error}"))
}

fn open_channel() -> Result<File, String> {
    let describe = |error: io::Error| format!("cannot use {}: {error}", Spec::CHANNEL);
    let channel = OpenOptions::new().read(true).write(true).open(Spec::CHANNEL).map_err(describe)?;
    let mut settings = tcgetattr(&channel).map_err(|error| describe(error.into()))?;
    settings.make_raw();
    tcsetattr(&channel, OptionalActions::Now, &settings).map_err(|error| describe(error.into()))?;
    Ok(channel)
}

/// Does what the specification says and returns the exit status.
fn run(channel: &File) -> Result<u8, String> {
    let text = fs::read(Spec::PATH).map_err(|error| format!("cannot read {}: {error}", Spec::PATH))?;
    let spec: Spec = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", Spec::PATH))?;
    for module in &spec.modules {
        load(module)?;
    }
    spec.huge_pages.iter().try_for_each(check_huge_pages)?;
    let writer = Mutex::new(channel);
    send(&writer, Frame::Ready);
    let before: Vec<_> = spec.outputs.iter().map(|output| last_write(output)).collect();
    let mut first_failure = 0;
    for command in &spec.commands {
        if let Some(title) = &command.title {
            send(&writer, Frame::Stderr(format!("{title}\n").into_bytes()));
        }
        let started = Instant::now();
        let status = run_command(&spec, command, channel, &writer)?;
        if spec.count {
            let ns = started.elapsed().as_nanos() as u64;
            send(&writer, Frame::Taken { ns, report: fs::read(Spec::REPORT).unwrap_or_default() });
        }
        if first_failure == 0 {
            first_failure = status;
        }
    }
    for (number, (output, before)) in (0..).zip(spec.outputs.iter().zip(before)) {
        if last_write(output) != before {
            send_file(&writer, number, output)
                .map_err(|error| format!("cannot send {} back: {error}", output.display()))?;
        }
    }
    Ok(first_failure)
}

/// When a regular file was written; `None` where there is none.
fn last_write(path: &Path) -> Option<SystemTime> {
    path.metadata().ok().filter(Metadata::is_file)?.modified().ok()
}

/// Sends a file; nothing if a command has removed it.
fn send_file(writer: &Mutex<&File>, number: u32, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; PIECE];
    let mut empty = true;
    loop {
        let count = file.read(&mut buffer)?;
        if count > 0 || empty {
            send(writer, Frame::File { number, bytes: buffer[..count].to_vec() });
        }
        if count == 0 {
            return Ok(());
        }
        empty = false;
    }
}

fn load(module: &Module) -> Result<(), String> {
    let name = module.path.display();
    let file = File::open(&module.path).map_err(|error| format!("cannot open module {name}: {error}"))?;
    let flags =
        if module.path.extension().is_some_and(|extension| extension == "ko") { 0 } else { COMPRESSED_FILE };
    let parameters = std::ffi::CString::new(module.parameters.as_str())
        .map_err(|_| format!("parameters of {name} hold a NUL"))?;
    finit_module(&file, &parameters, flags).map_err(|error| {
        format!("the kernel does not load module {name} (parameters: {:?}): {error}", module.parameters)
    })
}

fn check_huge_pages(wanted: &HugePages) -> Result<(), String> {
    let HugePages { kib, count } = wanted;
    let path = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages");
    let found = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    if found.trim().parse() == Ok(*count) {
        return Ok(());
    }
    Err(format!(
        "its kernel could set aside {} of {count} huge pages of {} MiB; give more --memory, or ask for fewer",
        found.trim(),
        kib >> 10
    ))
}

fn run_command(spec: &Spec, command: &Command, channel: &File, writer: &Mutex<&File>) -> Result<u8, String> {
    let stdin = if spec.stdin { Stdio::piped() } else { Stdio::null() };
    let mut child = std::process::Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.directory)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", command.program.display()))?;
    if let Some(stdin) = child.stdin.take() {
        feed(channel, stdin)?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = thread::scope(|scope| {
        if let Some(stdout) = stdout {
            scope.spawn(move || pump(stdout, writer, Frame::Stdout));
        }
        if let Some(stderr) = stderr {
            scope.spawn(move || pump(stderr, writer, Frame::Stderr));
        }
        child.wait()
    });
    status.map(exit_status).map_err(|error| format!("cannot wait for {}: {error}", command.program.display()))
}

/// Carries standard input in the background. Reading goes on while the command does not take it, so that
/// no byte is lost in the serial port: it has no flow control.
fn feed(channel: &File, mut stdin: ChildStdin) -> Result<(), String> {
    let mut channel = channel.try_clone().map_err(|error| format!("cannot copy a descriptor: {error}"))?;
    let (sender, receiver) = std::sync::mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        while let Ok(Frame::Stdin(bytes)) = Frame::receive(&mut channel) {
            if bytes.is_empty() || sender.send(bytes).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for bytes in receiver {
            if stdin.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Carries one output stream until its last writer has closed it.
fn pump(mut stream: impl Read, writer: &Mutex<&File>, frame: fn(Vec<u8>) -> Frame) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        send(writer, frame(buffer[..count].to_vec()));
    }
}

/// Sends a frame whole. A host that has gone takes nothing; the command goes on without it.
fn send(writer: &Mutex<&File>, frame: Frame) {
    let mut channel = *writer.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = frame.send(&mut channel);
}

/// As a shell shows it: the status, or 128 + n for signal n.
fn exit_status(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| Some(128 + status.signal()?));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}
