//! Bifold's host side: a minimal VMM on KVM that backs its guest's RAM with a pager of its own.
//!
//! Modules depend downwards only: `cli` -> `explore` -> `report` -> `compare` -> `inventory`, `lab` -> `machine` -> `control` ->
//! `pager`,
//! `devices` -> `store`, `memory`; `measure` and `named` are below all.

pub mod cli;
pub mod compare;
pub mod control;
pub mod devices;
pub mod explore;
pub mod guest;
pub mod inventory;
pub mod lab;
pub mod machine;
pub mod measure;
pub mod memory;
mod named;
pub mod pager;
pub mod report;
pub mod store;
