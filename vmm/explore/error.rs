//! Why an experiment has no finding.

use std::io;

use thiserror::Error;

use crate::machine::{End, MachineError, VmError};

/// Why an experiment has no finding.
#[derive(Debug, Error)]
pub enum ExploreError {
    /// No machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No KVM.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The host lacks what the experiment needs.
    #[error("cannot prepare the experiment: {0}; free memory or space for temporary files")]
    Host(#[from] io::Error),
    /// The guest was ended, by the user or by a breakdown.
    #[error("{command}: the guest was ended")]
    Ended {
        /// What ran in it.
        command: String,
        /// How.
        end: End,
    },
    /// The program in the guest gave up.
    #[error(
        "{command}: ended with {how}, which an experiment does not: this is a bug in Bifold, please report it"
    )]
    Failed {
        /// What ran in the guest.
        command: String,
        /// Its exit status or signal.
        how: String,
    },
    /// The program in the guest said something else than what it is asked for.
    #[error("{command}: its output lacks {what}: this is a bug in Bifold, please report it")]
    Missing {
        /// What ran in the guest.
        command: String,
        /// What is not there.
        what: String,
    },
}
