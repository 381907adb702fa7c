//! How a run ended, as the devices and the vCPU loop tell each other.

use std::sync::{Arc, OnceLock};

use abi::port::Exit;
use rustix::io::Errno;

/// Why the guest must not run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The guest wrote this to the exit port.
    Exit(Exit),
    /// The guest wrote a value to the exit port that means nothing.
    UnknownExit(u32),
    /// Nobody reads the guest's output any more (EPIPE): what would be SIGPIPE for a native program.
    BrokenPipe,
    /// The guest's output could not be written.
    OutputFailed(Errno),
    /// The VMM was told to stop: Ctrl-C, a time limit.
    Stopped,
}

/// A place for one [`Ending`], shared by all that can end a run. The first one stays.
#[derive(Clone, Default, Debug)]
pub struct Outcome(Arc<OnceLock<Ending>>);

impl Outcome {
    /// Ends the run, unless it has ended already.
    pub fn end(&self, ending: Ending) {
        // A second ending is a consequence of the first, or came too late to matter.
        let _ = self.0.set(ending);
    }

    /// How the run ended; `None` while it goes on.
    #[must_use]
    pub fn get(&self) -> Option<Ending> {
        self.0.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ending_stays() {
        let outcome = Outcome::default();
        let shared = outcome.clone();
        assert_eq!(outcome.get(), None);
        shared.end(Ending::BrokenPipe);
        shared.end(Ending::Stopped);
        assert_eq!(outcome.get(), Some(Ending::BrokenPipe));
    }
}
