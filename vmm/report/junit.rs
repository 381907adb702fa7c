//! A check as JUnit XML, which every CI system shows: a test case for each cell.

use std::io::{self, Write};

use super::escape::Escaped;
use crate::compare::{Check, Checked, Finding, Interval};

/// Writes it.
///
/// # Errors
/// The destination cannot be written.
pub fn write_junit(check: &Check, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    let count =
        |wanted: fn(&Finding) -> bool| check.cells.iter().filter(|checked| wanted(&checked.finding)).count();
    let failures = count(|finding| matches!(finding, Finding::Slower(_) | Finding::Failed(_)));
    let skipped = count(|finding| matches!(finding, Finding::Skipped(_)));
    let counts = format!(r#"tests="{}" failures="{failures}" skipped="{skipped}""#, check.cells.len());
    writeln!(to, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(to, "<testsuites {counts}>\n  <testsuite name=\"bifold check\" {counts}>")?;
    for checked in &check.cells {
        write_case(checked, &mut to)?;
    }
    for warning in &check.warnings {
        writeln!(to, "    <system-err>{}</system-err>", Escaped(warning))?;
    }
    writeln!(to, "  </testsuite>\n</testsuites>")?;
    to.flush()
}

fn write_case(Checked { cell, finding }: &Checked, to: &mut impl Write) -> io::Result<()> {
    let (class, place) = (cell.work(), cell.place());
    let name = if place.is_empty() { &class } else { &place };
    write!(to, r#"    <testcase classname="{}" name="{}">"#, Escaped(&class), Escaped(name))?;
    match finding {
        Finding::Slower(ratio) => write!(to, r#"<failure message="slower: {}"/>"#, times(ratio))?,
        Finding::Failed(why) => write!(to, r#"<failure message="failed: {}"/>"#, Escaped(why))?,
        Finding::Skipped(why) => write!(to, r#"<skipped message="{}"/>"#, Escaped(why))?,
        Finding::Faster(ratio) | Finding::Same(ratio) => {
            write!(to, "<system-out>{}</system-out>", times(ratio))?;
        }
    }
    writeln!(to, "</testcase>")
}

fn times(ratio: &Interval) -> String {
    format!("new / old is {ratio}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Cell;

    #[test]
    fn cells_become_cases_and_their_text_is_escaped() {
        let cell = |name: &str| Cell { workload: name.to_owned(), axes: [].into() };
        let ratio = Interval { low: 1.04, estimate: 1.05, high: 1.06 };
        let checked = |name: &str, finding| Checked { cell: cell(name), finding };
        let cells = vec![
            checked("a<b", Finding::Slower(ratio)),
            checked("c", Finding::Same(ratio)),
            checked("d", Finding::Skipped("no \"pool\"".to_owned())),
        ];
        let mut bytes = Vec::new();
        write_junit(&Check { cells, warnings: vec!["another CPU".to_owned()] }, &mut bytes).expect("memory");
        let text = String::from_utf8(bytes).expect("text");
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" skipped="1">
  <testsuite name="bifold check" tests="3" failures="1" skipped="1">
    <testcase classname="a&lt;b" name="a&lt;b"><failure message="slower: new / old is 1.050 (1.040 to 1.060)"/></testcase>
    <testcase classname="c" name="c"><system-out>new / old is 1.050 (1.040 to 1.060)</system-out></testcase>
    <testcase classname="d" name="d"><skipped message="no &quot;pool&quot;"/></testcase>
    <system-err>another CPU</system-err>
  </testsuite>
</testsuites>
"#;
        assert_eq!(text, expected);
    }
}
