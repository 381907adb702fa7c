//! How well the host chose whom to evict.

use std::fmt;

use super::units::Count;
use crate::pager::HostStats;

/// One line on the host's victims.
pub struct Victims<'a>(pub &'a HostStats);

impl fmt::Display for Victims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stats) = self;
        let evicted = stats.evicted_clean + stats.evicted_dirty + stats.evicted_zero;
        write!(f, "{} by {}, ", stats.policy, stats.reference)?;
        write!(f, "{} evicted, {} of them refaulted soon; ", Count(evicted), Count(stats.refaults))?;
        write!(f, "tables of {} KiB", stats.metadata_bytes.div_ceil(1024))
    }
}
