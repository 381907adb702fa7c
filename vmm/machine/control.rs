//! What a running machine does when it is asked over the control socket.

use std::time::Duration;

use super::gate::Keeper;
use super::run::Reading;
use super::vcpu_thread::VcpuThread;
use crate::control::{Answer, GuestCounts, HostCounts, Request, RunState, Status};
use crate::memory::Size;
use crate::pager::AnyPager;

/// How long a vCPU that is to pause is waited for: it may be inside a write that nobody reads. It pauses
/// after that.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be controlled.
pub struct Controls<'a> {
    /// Runs the guest.
    pub vcpu: &'a VcpuThread,
    /// Pages guest RAM.
    pub pager: Option<&'a AnyPager>,
    /// Guest RAM.
    pub ram: Size,
}

impl Controls<'_> {
    /// Does what `request` says; `read` gives the counters afterwards.
    pub fn answer(&self, request: &Request, read: impl FnOnce() -> Reading) -> Answer {
        match request {
            Request::Status | Request::Stop => {}
            Request::SetBudget { bytes } => {
                if let Err(error) = self.set_budget(*bytes) {
                    return Answer::Error(error);
                }
            }
            Request::Pause => self.vcpu.pause(PATIENCE),
            Request::Resume => self.vcpu.let_go(Keeper::User),
        }
        let state = if *request == Request::Stop { RunState::Stopping } else { self.vcpu.state() };
        Answer::Status(Box::new(self.status(state, read())))
    }

    fn set_budget(&self, bytes: u64) -> Result<(), String> {
        let pager = self.pager.ok_or(
            "the host's kernel backs all of guest RAM, so there is no budget: start the run with --host-ram",
        )?;
        let budget = Size::from_bytes(bytes).map_err(|error| error.to_string())?;
        pager.set_budget(budget).map_err(|error| error.to_string())
    }

    fn status(&self, state: RunState, reading: Reading) -> Status {
        let bytes = |pages: u64| pages << 12;
        Status {
            state,
            elapsed_ns: reading.elapsed.as_nanos() as u64,
            ram: self.ram.bytes(),
            budget: reading.host.as_ref().map(|host| bytes(host.budget)),
            resident: reading.host.as_ref().map(|host| bytes(host.resident)),
            guest: reading.guest.as_deref().map(GuestCounts::from),
            host: reading.host.map(HostCounts::from),
        }
    }
}
