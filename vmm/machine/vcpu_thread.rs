//! The thread that runs a vCPU, and how others have it stop, pause and go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvm_bindings::{KVM_MP_STATE_HALTED, kvm_mp_state};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::board::Buses;
use super::gate::{Gate, Keeper};
use super::vcpu::{Breakage, Crash, Step, autopsy, handle_exit};
use super::vm::VmError;
use crate::control::RunState;
use crate::devices::{Ending, Outcome};
use crate::memory::GuestRam;

/// How a vCPU's thread ended.
#[derive(Debug)]
pub enum Stop {
    /// The run is over.
    Ended(Ending),
    /// The guest cannot go on.
    Crashed(Box<Crash>),
}

/// A running vCPU.
#[derive(Debug)]
pub struct VcpuThread {
    thread: JoinHandle<VcpuFd>,
    outcome: Outcome,
    gate: Arc<Gate>,
    /// `kvm_run.immediate_exit`. The mapping belongs to the `VcpuFd`, which the thread holds and gives back
    /// only to [`VcpuThread::join`], so it outlives this.
    immediate_exit: &'static AtomicU8,
}

impl VcpuThread {
    /// Starts `vcpu`; `ended` is called once, on its thread, when it stops.
    ///
    /// # Errors
    /// The host gives no thread.
    pub fn start(
        mut vcpu: VcpuFd,
        buses: Arc<Buses>,
        ram: GuestRam,
        ended: impl FnOnce(Stop) + Send + 'static,
    ) -> Result<Self, VmError> {
        extern "C" fn interrupted(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        register_signal_handler(SIGRTMIN(), interrupted)
            .map_err(|error| VmError::Call { what: "interrupt the vCPU by signal", error })?;
        let flag: *mut u8 = &raw mut vcpu.get_kvm_run().immediate_exit;
        // SAFETY: `flag` points into the vCPU's shared mapping, which lives until the `VcpuFd` is dropped: after `join`, which
        // consumes this reference with the struct, when the thread has given its own back. KVM reads the byte, and only by this
        // reference is it written.
        let immediate_exit = unsafe { AtomicU8::from_ptr(flag) };
        let (outcome, gate) = (buses.outcome.clone(), Arc::new(Gate::default()));
        let of_thread = Arc::clone(&gate);
        let thread = thread::Builder::new()
            .name("vcpu".into())
            .spawn(move || {
                ended(run(&mut vcpu, &buses, &ram, &of_thread, immediate_exit));
                of_thread.leave();
                vcpu
            })
            .map_err(|error| VmError::Thread(error.to_string()))?;
        Ok(Self { thread, outcome, gate, immediate_exit })
    }

    /// Ends the run: the vCPU leaves the guest soon. Without effect when it has ended already.
    pub fn stop(&self) {
        self.outcome.end(Ending::Stopped);
        self.interrupt();
        self.let_go(Keeper::User);
        self.let_go(Keeper::Pager);
    }

    /// Takes the vCPU out of the guest for the user, until [`VcpuThread::let_go`], and waits up to `limit` for that.
    pub fn pause(&self, limit: Duration) {
        self.hold(Keeper::User);
        self.gate.wait_for_vcpu(limit);
    }

    /// Takes the vCPU out of the guest soon, until [`VcpuThread::let_go`].
    pub fn hold(&self, keeper: Keeper) {
        self.gate.close(keeper);
        self.interrupt();
    }

    /// Lets the vCPU into the guest again, for all that this keeper minds.
    pub fn let_go(&self, keeper: Keeper) {
        self.gate.open(keeper);
    }

    /// Where the vCPU is.
    pub fn state(&self) -> RunState {
        self.gate.state()
    }

    /// Has KVM_RUN return, now or when it is next entered.
    fn interrupt(&self) {
        // Set before the signal: a thread that is about to enter KVM_RUN returns at once (KVM API, 5).
        self.immediate_exit.store(1, Ordering::SeqCst);
        if let Err(error) = self.thread.kill(SIGRTMIN()) {
            log::debug!("the vCPU's thread is gone already: {error}");
        }
    }

    /// Waits until the thread has ended and returns the vCPU; `None` if the thread panicked.
    pub fn join(self) -> Option<VcpuFd> {
        self.thread.join().inspect_err(|_| log::error!("the vCPU's thread panicked")).ok()
    }
}

fn run(vcpu: &mut VcpuFd, buses: &Buses, ram: &GuestRam, gate: &Gate, immediate_exit: &AtomicU8) -> Stop {
    loop {
        let step = match vcpu.run() {
            Ok(exit) => handle_exit(exit, buses),
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                gate.pass(|| immediate_exit.store(0, Ordering::SeqCst));
                handle_exit(VcpuExit::Intr, buses)
            }
            Err(error) => Step::Broken(Breakage::RunFailed(error)),
        };
        // KVM waits then as it would at a `hlt`.
        let step = match step {
            Step::Wait => {
                let halted = vcpu.set_mp_state(kvm_mp_state { mp_state: KVM_MP_STATE_HALTED });
                halted.map_or_else(|error| Step::Broken(Breakage::RunFailed(error)), |()| Step::Continue)
            }
            step => step,
        };
        match step {
            Step::Continue | Step::Wait => {}
            Step::End(ending) => return Stop::Ended(ending),
            Step::Broken(breakage) => return Stop::Crashed(Box::new(autopsy(vcpu, ram, breakage))),
        }
    }
}
