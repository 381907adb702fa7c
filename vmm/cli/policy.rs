//! A replacement policy on the command line: `--help` and a mistake's answer name them all.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use paging::policy::PolicyKind;

/// Takes one of [`PolicyKind::NAMES`].
pub fn parser() -> impl TypedValueParser<Value = PolicyKind> {
    PossibleValuesParser::new(PolicyKind::NAMES).try_map(|name| name.parse::<PolicyKind>())
}
