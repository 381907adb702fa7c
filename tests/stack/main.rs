//! The whole stack on /dev/kvm: the built command runs real programs, and what comes out is compared with a native
//! run of the same file.
//!
//! Nothing here is skipped: a test that finds no /dev/kvm, or not the tool that it needs, fails and says so.

// A test says with `unwrap` and `expect` what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod cleanliness;
mod compare;
mod conformance;
mod control;
mod demo;
mod explore;
mod foreign_kernel;
mod host_reference;
mod huge_pages;
mod kernel_elf;
mod limits;
mod paging;
mod programs;
mod real_programs;
mod replay;
mod report;
mod store_faults;
mod stress;
mod support;
mod thrashing;
