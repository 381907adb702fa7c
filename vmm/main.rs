//! The `bifold` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    bifold::cli::main()
}
