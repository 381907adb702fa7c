//! What is shown while a guest runs: on standard error, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::level::Level;
use super::units::Count;
use crate::machine::Reading;

/// A line that counts both levels' faults; it is gone when this is dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// An empty line.
    #[must_use]
    pub fn start() -> Self {
        let style = ProgressStyle::with_template("  {spinner} {elapsed} {msg}");
        Self(
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())),
        )
    }

    /// Shows the counts as they are.
    pub fn show(&self, reading: &Reading) {
        let guest = reading.guest.as_deref().map(|stats| Level::of_guest(stats, reading.tsc_khz));
        let host = reading.host.as_ref().map(Level::of_host);
        let levels =
            [("guest", guest), ("host", host)].into_iter().filter_map(|(name, level)| Some((name, level?)));
        let counts = levels.map(|(name, level)| format!("{name} faults {}", Count(level.faults())));
        self.0.set_message(counts.collect::<Vec<_>>().join(", "));
        self.0.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
