//! What an experiment found, in a form that a program reads and a person can.

/// Prints a record: a word and named values. Tabs stand between them, so a value may have spaces.
macro_rules! record {
    ($kind:literal $(, $name:ident = $value:expr)* $(,)?) => {
        println!(concat!($kind, $("\t", stringify!($name), "={}"),*) $(, $value)*)
    };
}

pub(crate) use record;
