//! A run: starts a machine, watches it until it ends, and says how it went.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use abi::layout::STATS;
use abi::port::Exit;
use abi::stats::GuestStats;
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::assemble::{Machine, MachineError};
use super::config::Config;
use super::control::Controls;
use super::gate::Keeper;
use super::vcpu::{Crash, Place, place};
use super::vcpu_thread::{Stop, VcpuThread};
use super::vm::statistics;
use crate::control::{Answer, ControlError, Request, Server};
use crate::devices::Ending;
use crate::memory::GuestRam;
use crate::pager::{AnyPager, HostStats, PagerError, Word};

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// The guest ended itself.
    Exit(Exit),
    /// The guest cannot go on.
    Crash(Box<Crash>),
    /// This process got a signal.
    Signal(i32),
    /// The time limit, and where the guest was then, as far as is known.
    TimedOut(Duration, Option<Place>),
    /// Nobody reads the output.
    BrokenPipe,
    /// The output could not be written.
    OutputFailed(io::Error),
}

/// What both levels have counted so far.
#[derive(Debug)]
pub struct Reading {
    /// Since the start of the guest.
    pub elapsed: Duration,
    /// Frequency of the guest's time-stamp counter, in which its latencies are counted.
    pub tsc_khz: u64,
    /// What the guest kernel counted; `None` for another kernel than ours.
    pub guest: Option<Box<GuestStats>>,
    /// What the host pager counted; `None` where there is none.
    pub host: Option<HostStats>,
}

/// What a run was like.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// The last reading.
    pub reading: Reading,
    /// From when the user asked for the run to the start of the vCPU.
    pub prepared: Duration,
    /// The time that this process was on a CPU until then.
    pub prepared_cpu: Duration,
    /// What KVM counted, by its own names; empty where it does not say.
    pub kvm: BTreeMap<String, u64>,
}

/// What the watching thread waits for.
enum Event {
    Vcpu(Stop),
    Signal(i32),
    Pager(Word),
    /// A client of the control socket asks, and waits for the answer.
    Asked(Request, Sender<Answer>),
}

/// How often progress is reported.
const TICK: Duration = Duration::from_millis(100);
/// How long a vCPU that was told to stop is waited for: it may be inside a write that nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is told again: a signal can fall between its last check and its next wait.
const REPEAT: Duration = Duration::from_millis(10);

/// Runs a machine to its end. `progress`, where given, is called ten times a second.
///
/// # Errors
/// It cannot be built, or the host cannot go on with it.
pub fn run(config: Config, progress: Option<&mut dyn FnMut(&Reading)>) -> Result<Run, MachineError> {
    let asked = config.asked;
    let (sender, events) = mpsc::channel();
    let tell = {
        let sender = sender.clone();
        // The receiver is gone only when the run is over.
        move |word| drop(sender.send(Event::Pager(word)))
    };
    let Machine { vcpu, buses, input, vm, pager, ram, tsc_khz, timeout, control, ours } =
        Machine::new(config, tell)?;
    let signals = watch_signals(sender.clone())?;
    let inbox = Inbox { events, _server: control.map(|path| serve(&path, sender.clone())).transpose()? };
    let vcpu = VcpuThread::start(vcpu, buses, ram.clone(), move |stop| drop(sender.send(Event::Vcpu(stop))))?;
    let (started, prepared_cpu) = (Instant::now(), cpu_time());
    let controls = Controls { vcpu: &vcpu, pager: pager.as_ref(), ram: ram.size() };
    let watch = Watch { inbox, started, timeout, tsc_khz, ram: ours.then_some(&ram), controls };

    let ended = watch.until_end(progress);
    let (mut end, stopped) = match ended {
        Ended::ByItself(end) => (end, true),
        Ended::FromOutside(end) => (end, watch.halt()),
        Ended::PagerFailed(error) => {
            // The vCPU may wait for a page that never comes. It is told to stop before the pager goes and wakes
            // it, so that it never runs on with what it finds there.
            vcpu.stop();
            return Err(error.into());
        }
    };
    let (reading, read) = watch.last();
    drop(watch);
    signals.close();
    let mut kvm = vm.statistics();
    if stopped && read {
        let vcpu = vcpu.join();
        if let End::TimedOut(_, at) = &mut end {
            *at = vcpu.as_ref().and_then(place);
        }
        kvm.extend(vcpu.map(|vcpu| statistics(&vcpu)).unwrap_or_default());
    } else {
        // A thread is inside a write that nobody reads, or waits for a page that does not come. The process ends soon, and the
        // thread with it; until then nothing that it uses may go away.
        std::mem::forget((vm, pager, input));
    }
    Ok(Run { end, reading, prepared: started.duration_since(asked), prepared_cpu, kvm })
}

/// How long this process has been on a CPU.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What is heard of the run. Dropped in order: clients of the control socket, which the server waits for, are told that nobody
/// answers any more when the events' receiver goes.
struct Inbox {
    events: Receiver<Event>,
    _server: Option<Server>,
}

/// How watching ended.
enum Ended {
    ByItself(End),
    FromOutside(End),
    PagerFailed(PagerError),
}

/// What is watched.
struct Watch<'a> {
    inbox: Inbox,
    started: Instant,
    timeout: Option<Duration>,
    tsc_khz: u64,
    ram: Option<&'a GuestRam>,
    controls: Controls<'a>,
}

impl Watch<'_> {
    fn until_end(&self, mut progress: Option<&mut dyn FnMut(&Reading)>) -> Ended {
        loop {
            let left = self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()));
            let wait =
                left.unwrap_or(Duration::MAX).min(if progress.is_some() { TICK } else { Duration::MAX });
            match self.inbox.events.recv_timeout(wait) {
                Ok(Event::Vcpu(stop)) => return Ended::ByItself(ended(stop)),
                Ok(Event::Signal(signal)) => return Ended::FromOutside(End::Signal(signal)),
                Ok(Event::Pager(Word::Failed(error))) => return Ended::PagerFailed(error),
                Ok(Event::Pager(Word::Hold)) => self.controls.vcpu.hold(Keeper::Pager),
                Ok(Event::Pager(Word::LetGo)) => self.controls.vcpu.let_go(Keeper::Pager),
                Ok(Event::Asked(request, reply)) => {
                    // A client that is gone needs no answer.
                    let _ = reply.send(self.controls.answer(&request, || self.read()));
                    if request == Request::Stop {
                        return Ended::FromOutside(End::Signal(SIGTERM));
                    }
                }
                Err(_) => {}
            }
            if let Some(timeout) = self.timeout.filter(|&timeout| self.started.elapsed() >= timeout) {
                return Ended::FromOutside(End::TimedOut(timeout, None));
            }
            if let Some(progress) = &mut progress {
                progress(&self.read());
            }
        }
    }

    /// Stops the vCPU; `false` if it does not.
    fn halt(&self) -> bool {
        let last = Instant::now() + PATIENCE;
        while Instant::now() < last {
            self.controls.vcpu.stop();
            if let Ok(Event::Vcpu(_)) = self.inbox.events.recv_timeout(REPEAT) {
                return true;
            }
        }
        false
    }

    fn read(&self) -> Reading {
        self.reading(self.ram.and_then(read_guest_stats))
    }

    /// The last reading, and whether the guest's part is in it: its page may not come, because the store's disk is full or
    /// broken, and then the thread that touches it is left behind.
    fn last(&self) -> (Reading, bool) {
        let (Some(ram), Some(_)) = (self.ram, self.controls.pager) else { return (self.read(), true) };
        let (sender, answer) = mpsc::channel();
        let ram = ram.clone();
        // Without a thread nobody answers, and there is no guest's part either.
        let _ = thread::Builder::new()
            .name("last-reading".to_owned())
            .spawn(move || drop(sender.send(read_guest_stats(&ram))));
        match answer.recv_timeout(PATIENCE) {
            Ok(stats) => (self.reading(stats), true),
            Err(_) => (self.reading(None), false),
        }
    }

    fn reading(&self, guest: Option<Box<GuestStats>>) -> Reading {
        let (elapsed, host) = (self.started.elapsed(), self.controls.pager.map(AnyPager::stats));
        Reading { elapsed, tsc_khz: self.tsc_khz, guest, host }
    }
}

fn ended(stop: Stop) -> End {
    match stop {
        Stop::Crashed(crash) => End::Crash(crash),
        Stop::Ended(Ending::Exit(exit)) => End::Exit(exit),
        Stop::Ended(Ending::BrokenPipe) => End::BrokenPipe,
        Stop::Ended(Ending::OutputFailed(errno)) => End::OutputFailed(errno.into()),
        // Neither arrives here: an unknown exit is a crash, and whoever stops a run keeps his own reason.
        Stop::Ended(Ending::UnknownExit(_) | Ending::Stopped) => End::Signal(SIGTERM),
    }
}

/// [`GuestStats`] as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire(GuestStats);

// SAFETY: `GuestStats` is `repr(C)` and all 64-bit integers, so it has no padding and any bytes make a valid one.
unsafe impl ByteValued for Wire {}

fn read_guest_stats(ram: &GuestRam) -> Option<Box<GuestStats>> {
    let read = ram.memory().read_obj::<Wire>(GuestAddress(STATS.0));
    read.inspect_err(|error| log::error!("the guest's counters are not in its RAM: {error}"))
        .ok()
        .map(|Wire(stats)| Box::new(stats))
}

/// Serves a control socket: what is asked there is done by whoever watches the run.
fn serve(path: &Path, sender: Sender<Event>) -> Result<Server, ControlError> {
    Server::start(path, move |request| {
        let (reply, answer) = mpsc::channel();
        // If nobody watches any more, the reply's sender is gone with the event.
        let _ = sender.send(Event::Asked(request, reply));
        answer.recv().unwrap_or_else(|_| Answer::Error("the run has ended".to_owned()))
    })
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
