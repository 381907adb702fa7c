//! What the tests share: running the command, the programs it runs, and looking at it from outside.

pub mod command;
pub mod elf;
pub mod guests;
pub mod outside;
pub mod report;

/// Whether the sizes that Bifold is accepted by are wanted (BIFOLD_TEST_FULL is set), which take minutes, and not smaller ones
/// with the same ratios.
pub fn full() -> bool {
    std::env::var_os("BIFOLD_TEST_FULL").is_some()
}
