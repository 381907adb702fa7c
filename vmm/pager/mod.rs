//! The host pager.
