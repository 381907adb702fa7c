//! The gate between a vCPU's turns in the guest: closed, by either of its keepers, it keeps the vCPU out.
//!
//! The vCPU comes by whenever KVM_RUN was interrupted. Whoever closes the gate interrupts it, so it comes
//! soon, unless it is in a request that a device does not finish.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::control::RunState;

/// Who closes the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// Until they ask for the opposite.
    User,
    /// For a moment.
    Pager,
}

/// The gate. Open at first.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    by_user: bool,
    by_pager: bool,
    /// The vCPU waits at the gate.
    held: bool,
    /// The vCPU never comes again.
    gone: bool,
}

impl State {
    const fn closed(&self) -> bool {
        self.by_user || self.by_pager
    }

    const fn by(&mut self, keeper: Keeper) -> &mut bool {
        match keeper {
            Keeper::User => &mut self.by_user,
            Keeper::Pager => &mut self.by_pager,
        }
    }
}

impl Gate {
    /// Where the vCPU is, as far as the user had a hand in it.
    pub fn state(&self) -> RunState {
        let state = self.state.lock();
        match (state.by_user, state.held) {
            (false, _) => RunState::Running,
            (true, false) => RunState::Pausing,
            (true, true) => RunState::Paused,
        }
    }

    /// From now on the vCPU does not pass.
    pub fn close(&self, keeper: Keeper) {
        *self.state.lock().by(keeper) = true;
    }

    /// Lets it pass again, for all that this keeper minds.
    pub fn open(&self, keeper: Keeper) {
        *self.state.lock().by(keeper) = false;
        self.changed.notify_all();
    }

    /// Waits up to `limit` for the vCPU to come to the closed gate.
    pub fn wait_for_vcpu(&self, limit: Duration) {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.closed() && !state.held && !state.gone, limit);
    }

    /// The vCPU comes by, and waits while the gate is closed. `pass` is called when it is open: whoever closes it does so
    /// after that.
    pub fn pass(&self, pass: impl FnOnce()) {
        let mut state = self.state.lock();
        while state.closed() {
            state.held = true;
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
        state.held = false;
        pass();
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
        gate.pass(|| {});
        gate.close(Keeper::User);
        assert_eq!(gate.state(), RunState::Pausing);
        std::thread::scope(|scope| {
            let vcpu = scope.spawn(|| gate.pass(|| {}));
            gate.wait_for_vcpu(LONG);
            assert_eq!(gate.state(), RunState::Paused);
            assert!(!vcpu.is_finished());
            gate.open(Keeper::User);
        });
        assert_eq!(gate.state(), RunState::Running);
    }

    #[test]
    fn what_one_keeper_closed_the_other_does_not_open() {
        let gate = Gate::default();
        gate.close(Keeper::Pager);
        std::thread::scope(|scope| {
            let vcpu = scope.spawn(|| gate.pass(|| {}));
            gate.wait_for_vcpu(LONG);
            assert_eq!(gate.state(), RunState::Running, "for the user it runs");
            gate.close(Keeper::User);
            gate.open(Keeper::Pager);
            assert_eq!(gate.state(), RunState::Paused);
            assert!(!vcpu.is_finished());
            gate.close(Keeper::Pager);
            gate.open(Keeper::User);
            assert!(!vcpu.is_finished());
            gate.open(Keeper::Pager);
        });
        assert_eq!(gate.state(), RunState::Running);
    }

    #[test]
    fn nobody_waits_for_a_vcpu_that_has_left() {
        let gate = Gate::default();
        gate.close(Keeper::User);
        gate.leave();
        gate.wait_for_vcpu(LONG);
        assert_eq!(gate.state(), RunState::Pausing);
    }
}
