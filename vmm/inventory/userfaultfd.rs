//! What this host's userfaultfd can do: the host pager works with it.

use std::fmt;

use serde::Serialize;

use super::{Feature, list};
use crate::pager::uffd;

/// Bits of UFFDIO_API's answer (linux/userfaultfd.h).
const FEATURES: &[(u32, &str)] = &[
    (0, "write protection"),
    (16, "move"),
    (15, "asynchronous write protection"),
    (9, "minor faults of hugetlb"),
    (10, "minor faults of shared memory"),
    (7, "SIGBUS mode"),
];

/// What userfaultfd has.
#[derive(Debug, Serialize)]
pub struct UserfaultfdFacts {
    /// Why the host cannot page, and what to do; `null` when it can.
    pub error: Option<String>,
    /// What it can do.
    pub features: Vec<Feature>,
}

impl UserfaultfdFacts {
    pub(super) fn of_this_host() -> Self {
        let error = uffd::Uffd::open().err().map(|error| error.to_string());
        let bits = uffd::features().unwrap_or(0);
        let feature = |&(bit, name): &(u32, &'static str)| Feature { name, present: bits >> bit & 1 == 1 };
        Self { error, features: FEATURES.iter().map(feature).collect() }
    }
}

impl fmt::Display for UserfaultfdFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => f.write_str(error),
            None => list(f, &self.features),
        }
    }
}
