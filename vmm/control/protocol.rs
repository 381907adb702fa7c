//! What is said over the control socket: one JSON object a line, a request and then its answer.

use abi::stats::GuestStats;
use serde::{Deserialize, Serialize};

use crate::pager::HostStats;
use crate::store::StoreStats;

/// The longest line that is read as a request, in bytes.
pub const MAX_LINE: usize = 4096;

/// What a run can be asked for: `{"command":"set-budget","bytes":16777216}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How it goes.
    Status,
    /// Another host budget.
    SetBudget {
        /// Its size.
        bytes: u64,
    },
    /// Take the vCPU out of the guest, and keep it out.
    Pause,
    /// Let it in again.
    Resume,
    /// End the run, as SIGTERM does.
    Stop,
}

impl Request {
    /// A request from its line.
    ///
    /// # Errors
    /// It is none; the message says what would be one.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line)
            .map_err(|error| format!("not a request: {error}; write one a line, such as {EXAMPLE}"))
    }
}

const EXAMPLE: &str = r#"{"command":"status"}"#;

/// What follows: how the run goes after what was asked for, or why that was not done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done.
    Status(Box<Status>),
    /// It was not.
    Error(String),
}

impl Answer {
    /// The line that says it.
    #[must_use]
    pub fn line(&self) -> String {
        let line = serde_json::to_string(self);
        line.unwrap_or_else(|error| format!(r#"{{"error":"the answer cannot be written: {error}"}}"#)) + "\n"
    }
}

/// Whether the guest runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Its vCPU is in the guest.
    Running,
    /// Its vCPU was told to leave the guest, and is still in a device's request.
    Pausing,
    /// Its vCPU waits outside.
    Paused,
    /// The run ends.
    Stopping,
}

/// A run at one moment. Sizes are in bytes, counts in 4 KiB pages.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether the guest runs.
    pub state: RunState,
    /// Since its start, the time that it was paused included.
    pub elapsed_ns: u64,
    /// Guest RAM.
    pub ram: u64,
    /// The host's budget; `null`: the host's kernel backs all of guest RAM.
    pub budget: Option<u64>,
    /// How much of guest RAM the host holds; `null` as above.
    pub resident: Option<u64>,
    /// What the guest's kernel counted; `null` for another kernel.
    pub guest: Option<GuestCounts>,
    /// What the host's pager counted; `null` where there is none.
    pub host: Option<HostCounts>,
}

/// The host pager's counters in brief, and its store.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct HostCounts {
    pub pager: &'static str,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub rescued: u64,
    pub evicted_clean: u64,
    pub evicted_dirty: u64,
    pub evicted_zero: u64,
    pub store: StoreStats,
}

impl From<HostStats> for HostCounts {
    fn from(stats: HostStats) -> Self {
        Self {
            pager: stats.pager,
            minor_faults: stats.minor,
            major_faults: stats.major,
            rescued: stats.faults.rescued.count,
            evicted_clean: stats.evicted_clean,
            evicted_dirty: stats.evicted_dirty,
            evicted_zero: stats.evicted_zero,
            store: stats.store,
        }
    }
}

/// The guest's counters in brief.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct GuestCounts {
    pub minor_faults: u64,
    pub major_faults: u64,
    pub evicted_clean: u64,
    pub evicted_dirty: u64,
    pub swapped_in: u64,
    pub swapped_out: u64,
    pub resident: u64,
}

impl From<&GuestStats> for GuestCounts {
    fn from(stats: &GuestStats) -> Self {
        Self {
            minor_faults: stats.minor_faults(),
            major_faults: stats.major_faults(),
            evicted_clean: stats.evicted_clean,
            evicted_dirty: stats.evicted_dirty,
            swapped_in: stats.swapped_in,
            swapped_out: stats.swapped_out,
            resident: stats.resident,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_back_from_its_line() {
        let requests =
            [Request::Status, Request::SetBudget { bytes: 1 << 24 }, Request::Pause, Request::Resume];
        for request in requests {
            let line = serde_json::to_vec(&request).expect("plain data");
            assert_eq!(Request::parse(&line), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_answered_with_what_would_be_one() {
        for (line, word) in [
            ("", "EOF"),
            ("stop", "expected"),
            (r#"{"command":"halt"}"#, "`set-budget`"),
            (r#"{"command":"set-budget"}"#, "`bytes`"),
            (r#"{"command":"set-budget","bytes":-1}"#, "-1"),
            (r#"{"command":"set-budget","bytes":4096,"now":true}"#, "`now`"),
            (r#"{"command":"status"}{"#, "trailing"),
            ("\u{0}\u{1}", "expected"),
        ] {
            let error = Request::parse(line.as_bytes()).expect_err(line);
            assert!(error.contains(word) && error.contains(EXAMPLE), "{line}: {error}");
        }
    }
}
