//! A run: builds the machine, starts it, watches it until it ends, and says how it went.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abi::port::Exit;
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use thiserror::Error;

use super::board::{BoardError, Buses};
use super::boot::{self, BootError, Clocks};
use super::vcpu::{Crash, Stop, VcpuThread};
use super::vm::{During, Vm, VmError};
use crate::devices::Ending;
use crate::memory::{GuestRam, RamError, Size};

/// What to run.
pub struct Config {
    /// Guest RAM.
    pub ram: Size,
    /// The kernel's ELF image.
    pub kernel: Vec<u8>,
    /// When to end the run from outside.
    pub timeout: Option<Duration>,
}

/// Why a machine could not be built, or could not go on.
#[derive(Debug, Error)]
pub enum MachineError {
    /// No guest RAM.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// No VM.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// No devices.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// No kernel.
    #[error("the kernel {0}")]
    Boot(#[from] BootError),
    /// No signal handlers.
    #[error("cannot watch for signals: {0}; raise the limit of open files (ulimit -n)")]
    Signals(io::Error),
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// The guest ended itself.
    Exit(Exit),
    /// The guest cannot go on.
    Crash(Box<Crash>),
    /// This process got a signal.
    Signal(i32),
    /// The time limit.
    TimedOut(Duration),
    /// Nobody reads the output.
    BrokenPipe,
    /// The output could not be written.
    OutputFailed(io::Error),
}

/// What a run was like.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// From the first instruction of the guest to its end.
    pub elapsed: Duration,
}

/// What the watching thread waits for.
enum Event {
    Vcpu(Stop),
    Signal(i32),
}

/// How long a vCPU that was told to stop is waited for: it may be inside a write that nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a machine to its end.
///
/// # Errors
/// It cannot be built, or the host cannot go on with it.
pub fn run(config: &Config) -> Result<Outcome, MachineError> {
    let ram = GuestRam::new(config.ram)?;
    let vm = Vm::new(ram.clone())?;
    let vcpu = vm.vcpu()?;
    let buses = Arc::new(Buses::new(&vm, io::stdout())?);
    prepare(config, &ram, &vm, &vcpu)?;

    let (sender, events) = mpsc::channel();
    let signals = watch_signals(sender.clone())?;
    let started = Instant::now();
    let vcpu = VcpuThread::start(vcpu, buses, ram, move |stop| {
        // The receiver is gone only when the run was given up.
        let _ = sender.send(Event::Vcpu(stop));
    })?;
    let end = watch(config, &events, &vcpu, started);
    let elapsed = started.elapsed();
    signals.close();
    Ok(Outcome { end, elapsed })
}

fn prepare(config: &Config, ram: &GuestRam, vm: &Vm, vcpu: &VcpuFd) -> Result<(), MachineError> {
    let entry = boot::load_kernel(ram, &config.kernel)?;
    boot::write_tables(ram)?;
    let clocks = clocks(vcpu)?;
    boot::write_boot_info(ram, &Default::default(), &[], vm.cpuid(), clocks)?;
    let mut sregs = vcpu.get_sregs().during("give the system registers")?;
    boot::set_entry_mode(&mut sregs);
    vcpu.set_sregs(&sregs).during("take the system registers")?;
    vcpu.set_regs(&boot::entry_registers(entry)).during("take the registers")?;
    Ok(())
}

/// The time-stamp counter (Intel SDM vol. 4, IA32_TIME_STAMP_COUNTER).
const MSR_TSC: u32 = 0x10;

fn clocks(vcpu: &VcpuFd) -> Result<Clocks, VmError> {
    let tsc_khz = u64::from(vcpu.get_tsc_khz().during("give the time-stamp counter's frequency")?);
    let wanted = [kvm_msr_entry { index: MSR_TSC, ..Default::default() }];
    let mut msrs = Msrs::from_entries(&wanted).map_err(|_| VmError::Extension("KVM_GET_MSRS"))?;
    vcpu.get_msrs(&mut msrs).during("give the time-stamp counter")?;
    let tsc = msrs.as_slice().first().map_or(0, |entry| entry.data);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Clocks { tsc_khz, tsc, unix_ns: since_1970.as_nanos() as u64 })
}

fn watch_signals(sender: Sender<Event>) -> Result<Handle, MachineError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(MachineError::Signals)?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if sender.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map_err(MachineError::Signals)?;
    Ok(handle)
}

/// Waits for the end of the run and makes sure that the vCPU has stopped.
fn watch(config: &Config, events: &Receiver<Event>, vcpu: &VcpuThread, started: Instant) -> End {
    let deadline = config.timeout.map(|timeout| started + timeout);
    let event = match deadline {
        None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
    };
    let cut_off = match event {
        Ok(Event::Vcpu(stop)) => return ended(stop),
        Ok(Event::Signal(signal)) => End::Signal(signal),
        Err(RecvTimeoutError::Timeout) => End::TimedOut(config.timeout.unwrap_or_default()),
        // The vCPU's thread always says how it ended; without a word it has panicked.
        Err(RecvTimeoutError::Disconnected) => End::Signal(SIGABRT),
    };
    vcpu.stop();
    let last = Instant::now() + PATIENCE;
    while let Ok(event) = events.recv_timeout(last.saturating_duration_since(Instant::now())) {
        if matches!(event, Event::Vcpu(_)) {
            break;
        }
    }
    cut_off
}

fn ended(stop: Stop) -> End {
    match stop {
        Stop::Crashed(crash) => End::Crash(crash),
        Stop::Ended(Ending::Exit(exit)) => End::Exit(exit),
        Stop::Ended(Ending::BrokenPipe) => End::BrokenPipe,
        Stop::Ended(Ending::OutputFailed(errno)) => End::OutputFailed(errno.into()),
        // Neither arrives here: an unknown exit is a crash, and `watch` keeps its own reason to stop.
        Stop::Ended(Ending::UnknownExit(_) | Ending::Stopped) => End::Signal(SIGTERM),
    }
}
