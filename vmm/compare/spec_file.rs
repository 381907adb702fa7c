//! A comparison as a TOML file. Every mistake is named with its line and column.
//!
//! ```toml
//! workloads = ["chase", "sort"]
//! ram = "64M"
//! precision = 2       # percent
//!
//! [axes]
//! backing = ["4k", "thp"]
//! ratio = [1, 2, 4]
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::axis::Axis;
use super::spec::{Choice, Request, SpecError};
use super::workload;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecFile {
    #[serde(default)]
    axes: BTreeMap<Spanned<String>, Vec<Spanned<Value>>>,
    #[serde(default)]
    workloads: Vec<Spanned<String>>,
    #[serde(default)]
    program: Vec<String>,
    #[serde(default)]
    baseline: BTreeMap<Spanned<String>, Spanned<Value>>,
    ram: Option<Spanned<String>>,
    swap: Option<Spanned<String>>,
    precision: Option<f64>,
    repeats: Option<usize>,
}

/// A value, as it is easiest to write.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a value is a text or a number")]
enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
}

/// A mistake and where it is, in bytes.
type Mistake = (Range<usize>, String);

impl Request {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or asks for what is not there.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        let shown = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|error| SpecError::Unreadable { path: shown.clone(), error })?;
        parse(&text).map_err(|(span, message)| {
            let (line, column) = position(&text, span.start);
            SpecError::Malformed { path: shown, line, column, message }
        })
    }
}

fn parse(text: &str) -> Result<Request, Mistake> {
    let file: SpecFile = toml::from_str(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        (error.span().unwrap_or(text.len()..text.len()), message)
    })?;
    Ok(Request {
        axes: file.axes.iter().map(|(name, values)| choice(name, values)).collect::<Result<_, _>>()?,
        workloads: file
            .workloads
            .iter()
            .map(|name| at(name, workload::named(name.get_ref())))
            .collect::<Result<_, _>>()?,
        program: file.program,
        in_lab: false,
        baseline: file
            .baseline
            .iter()
            .map(|(name, value)| {
                let one = choice(name, std::slice::from_ref(value))?;
                Ok((one.axis, plain(value.get_ref())))
            })
            .collect::<Result<_, Mistake>>()?,
        ram: file.ram.as_ref().map(parsed).transpose()?,
        swap: file.swap.as_ref().map(parsed).transpose()?,
        precision: file.precision,
        repeats: file.repeats,
    })
}

fn choice(name: &Spanned<String>, values: &[Spanned<Value>]) -> Result<Choice, Mistake> {
    let axis = at(name, Axis::named(name.get_ref()))?;
    let mut choice = Choice { axis, values: Vec::new() };
    for value in values {
        at(value, choice.add(&plain(value.get_ref())))?;
    }
    if choice.values.is_empty() {
        return Err((name.span(), format!("axis {} has no values here: give some", axis.name)));
    }
    Ok(choice)
}

fn parsed<T: FromStr<Err: ToString>>(text: &Spanned<String>) -> Result<T, Mistake> {
    at(text, text.get_ref().parse().map_err(|error: T::Err| error.to_string()))
}

/// Gives an error its place.
fn at<T, S>(place: &Spanned<S>, result: Result<T, String>) -> Result<T, Mistake> {
    result.map_err(|message| (place.span(), message))
}

/// A value as it would be written on the command line.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Whole(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_all_that_the_command_line_can() {
        let text = "workloads = [\"sort\"]\nram = \"32M\"\nswap = \"8M\"\nprecision = 2\nrepeats = 9\n\
                    [axes]\nratio = [1, 2.5]\nbacking = [\"4k\"]\n[baseline]\nratio = 2.5\n";
        let spec = parse(text).expect("valid").finish().expect("a comparison");
        assert_eq!(spec.axes[1].values, ["1", "2.5"]);
        assert_eq!((spec.workloads.as_slice(), spec.precision, spec.repeats), (&["sort"][..], 0.02, 9));
        assert_eq!(spec.baseline, [("ratio", "2.5".to_owned())]);
        assert_eq!(spec.ram.to_string(), "32 MiB");
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("spec.toml");
        for (text, place, word) in [
            ("axes = [", ":1:", "array"),
            ("[axes]\nbacking = [\"4k\", \"tph\"]\n", ":2:18:", "\"thp\""),
            ("[axes]\n  bakcing = [\"4k\"]\n", ":2:3:", "\"backing\""),
            ("workloads = [\"srot\"]\n", ":1:14:", "\"sort\""),
            ("ram = \"lots\"\n", ":1:7:", "64M"),
            ("\nrepeat = 3\n", ":2:1:", "repeats"),
            ("repeats = \"many\"\n", ":1:11:", "many"),
            ("[axes]\nratio = []\n", ":2:1:", "no values"),
        ] {
            fs::write(&path, text).expect("a file");
            let error = Request::load(&path).expect_err("refused").to_string();
            assert!(error.contains(place) && error.contains(word), "{text}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}
