//! The gate between a vCPU's turns in the guest: closed, it keeps the vCPU out.
//!
//! The vCPU comes by whenever KVM_RUN was interrupted. Whoever closes the gate interrupts it, so it comes
//! soon, unless it is in a request that a device does not finish.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::control::RunState;

/// The gate. Open at first.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// The vCPU waits at the gate.
    held: bool,
    /// The vCPU never comes again.
    gone: bool,
}

impl Gate {
    /// Where the vCPU is.
    pub fn state(&self) -> RunState {
        let state = self.state.lock();
        match (state.closed, state.held) {
            (false, _) => RunState::Running,
            (true, false) => RunState::Pausing,
            (true, true) => RunState::Paused,
        }
    }

    /// From now on the vCPU does not pass.
    pub fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Lets it pass again.
    pub fn open(&self) {
        self.state.lock().closed = false;
        self.changed.notify_all();
    }

    /// Waits up to `limit` for the vCPU to come to the closed gate.
    pub fn wait_for_vcpu(&self, limit: Duration) {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.closed && !state.held && !state.gone, limit);
    }

    /// The vCPU comes by, and waits while the gate is closed.
    pub fn pass(&self) {
        let mut state = self.state.lock();
        while state.closed {
            state.held = true;
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
        state.held = false;
    }

    /// The vCPU will not come any more.
    pub fn leave(&self) {
        self.state.lock().gone = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_closed_gate_holds_the_vcpu_until_it_is_opened() {
        let gate = Gate::default();
        gate.pass();
        gate.close();
        assert_eq!(gate.state(), RunState::Pausing);
        std::thread::scope(|scope| {
            let vcpu = scope.spawn(|| gate.pass());
            gate.wait_for_vcpu(LONG);
            assert_eq!(gate.state(), RunState::Paused);
            assert!(!vcpu.is_finished());
            gate.open();
        });
        assert_eq!(gate.state(), RunState::Running);
    }

    #[test]
    fn nobody_waits_for_a_vcpu_that_has_left() {
        let gate = Gate::default();
        gate.close();
        gate.leave();
        gate.wait_for_vcpu(LONG);
        assert_eq!(gate.state(), RunState::Pausing);
    }
}
