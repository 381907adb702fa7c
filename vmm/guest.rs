//! The guest side's binaries, built by vmm/build.rs and carried in the command.

/// The guest kernel.
pub static KERNEL: &[u8] = include_bytes!(env!("BIFOLD_KERNEL"));
/// The merge sort of the demo.
pub static SORT: &[u8] = include_bytes!(env!("BIFOLD_PROGRAM_SORT"));
/// What `bifold explore` runs.
pub static EXPLORE: &[u8] = include_bytes!(env!("BIFOLD_PROGRAM_EXPLORE"));
/// The workloads of comparisons.
pub static WORK: &[u8] = include_bytes!(env!("BIFOLD_PROGRAM_WORK"));
