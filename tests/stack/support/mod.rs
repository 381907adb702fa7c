//! What the tests share: running the command, the programs it runs, and looking at it from outside.

pub mod command;
pub mod elf;
pub mod guests;
pub mod outside;
pub mod report;
