//! What both pagers share. The guest kernel, the host pager and the offline replay run the same
//! replacement policies, on different frames.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod policy;
pub mod replay;
mod ring;
