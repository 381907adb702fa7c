//! One measurement of one cell: `bifold run` in a process of its own, which starts with nothing of the one
//! before.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};

use serde::Deserialize;

use super::SIZE;
use super::cell::{Cell, Sample};
use super::spec::Spec;

/// How a run went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It gave a sample.
    Measured(Sample),
    /// The host cannot do it: why not.
    Refused(String),
    /// It began and came to no good end: what happened.
    Failed(String),
}

/// What runs cells.
#[derive(Debug)]
pub struct Runner<'a> {
    spec: &'a Spec,
    /// The bundled program with the workloads.
    work: PathBuf,
    /// Where a run leaves its report.
    report: PathBuf,
}

/// What is read of a run's report.
#[derive(Deserialize)]
struct Report {
    end: String,
    exit_status: Option<u8>,
    phases: Phases,
    guest: Option<Level>,
    host: Option<Level>,
    kvm: Mapped,
}

#[derive(Deserialize)]
struct Phases {
    program_ns: Option<u64>,
}

#[derive(Deserialize)]
struct Level {
    minor_faults: u64,
    major_faults: u64,
}

#[derive(Deserialize)]
struct Mapped {
    pages_4k: Option<u64>,
    pages_2m: Option<u64>,
    pages_1g: Option<u64>,
}

/// The line that the program `work` prints.
#[derive(Deserialize)]
struct Work {
    operations: u64,
    ns: u64,
    answer: String,
}

impl<'a> Runner<'a> {
    /// One that keeps its report, for as long as a run, in `folder`. `work` is where the bundled program is.
    #[must_use]
    pub fn new(spec: &'a Spec, folder: &Path, work: PathBuf) -> Self {
        // A run that outlived an earlier comparison writes to a name of its own.
        let report = folder.join(format!("run-{}.json", process::id()));
        Self { spec, work, report }
    }

    /// The arguments of `bifold` that measure a cell.
    #[must_use]
    pub fn arguments(&self, cell: &Cell) -> Vec<String> {
        let invocation = self.spec.invocation(cell);
        if !self.spec.program.is_empty() {
            return invocation.arguments(&self.report, &self.spec.program);
        }
        let bytes = invocation.size.unwrap_or(SIZE).bytes();
        let program = [self.work.display().to_string(), cell.workload.clone(), bytes.to_string()];
        invocation.arguments(&self.report, &program)
    }

    /// Measures a cell once.
    ///
    /// # Errors
    /// This very command cannot be started, or its report cannot be written.
    pub fn run(&self, cell: &Cell) -> io::Result<Outcome> {
        // A report of an earlier run must not be taken for this one's.
        let _ = std::fs::remove_file(&self.report);
        // The file that runs, even if another was built in its place.
        let mut bifold = Command::new("/proc/self/exe");
        let output =
            bifold.args(self.arguments(cell)).env_remove("RUST_LOG").stdin(Stdio::null()).output()?;
        let report = std::fs::read(&self.report).ok();
        let _ = std::fs::remove_file(&self.report);
        let report = report.and_then(|report| serde_json::from_slice::<Report>(&report).ok());
        let said = last_words(&String::from_utf8_lossy(&output.stderr));
        if report.is_none() && said.contains(&*self.report.to_string_lossy()) {
            // The disk's fault, not the cell's.
            let advice =
                "what was measured before is kept; free some space and give the same command to go on";
            return Err(io::Error::other(format!("{said}; {advice}")));
        }
        Ok(self.outcome(&output, said, report))
    }

    fn outcome(&self, output: &Output, said: String, report: Option<Report>) -> Outcome {
        let Some(report) = report else {
            // `bifold` exits with 2, and makes no report, when it cannot do what was asked.
            let refused = output.status.code() == Some(2) && !said.is_empty();
            return if refused {
                Outcome::Refused(said)
            } else {
                Outcome::Failed(format!("{}: {said}", output.status))
            };
        };
        if report.end != "exited" || report.exit_status != Some(0) {
            let status = report.exit_status.map(|status| format!(" with {status}")).unwrap_or_default();
            return Outcome::Failed(format!("{}{status}: {said}", report.end));
        }
        let faults = |level: &Option<Level>| level.as_ref().map(|it| it.minor_faults + it.major_faults);
        let Mapped { pages_4k, pages_2m, pages_1g } = report.kvm;
        let sample = Sample {
            guest_faults: faults(&report.guest),
            host_faults: faults(&report.host),
            mapped: pages_4k.zip(pages_2m).zip(pages_1g).map(|((small, huge), giant)| [small, huge, giant]),
            ..Sample::default()
        };
        if !self.spec.program.is_empty() {
            return match report.phases.program_ns {
                Some(ns) => Outcome::Measured(Sample { ns, ..sample }),
                None => Outcome::Failed("the run does not say how long the program took".to_owned()),
            };
        }
        match serde_json::from_slice(&output.stdout) {
            Ok(Work { operations, ns, answer }) => {
                let (operations, answer) = (Some(operations), Some(answer));
                Outcome::Measured(Sample { ns, operations, answer, ..sample })
            }
            Err(error) => Outcome::Failed(format!("the workload printed something else: {error}")),
        }
    }
}

/// The last line of what a command said, without its name.
fn last_words(errors: &str) -> String {
    let last = errors.trim_end().lines().next_back().unwrap_or_default();
    last.strip_prefix("bifold: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::compare::{Choice, Request};

    fn outcome(status: i32, out: &str, errors: &str, report: Option<&str>) -> Outcome {
        let axes = vec![Choice::parse("ratio=1").expect("an axis")];
        let spec = Request { axes, ..Request::default() }.finish().expect("a comparison");
        let status = ExitStatus::from_raw(status << 8);
        let output = Output { status, stdout: out.into(), stderr: Vec::new() };
        let report = report.map(|report| serde_json::from_str(report).expect("a report"));
        Runner::new(&spec, Path::new("/f"), "/work".into()).outcome(&output, last_words(errors), report)
    }

    #[test]
    fn every_end_of_a_run_is_told_from_the_others() {
        let report = |end: &str, status: &str| {
            format!(
                r#"{{"end":"{end}","exit_status":{status},"phases":{{"program_ns":9}},"kvm":{{"pages_4k":1}},
                "guest":{{"minor_faults":3,"major_faults":1}},"host":null}}"#
            )
        };
        let line = r#"{"workload":"sort","bytes":1,"operations":2,"ns":7,"answer":"x"}"#;
        let good = outcome(0, line, "", Some(&report("exited", "0")));
        let expected =
            Sample { ns: 7, operations: Some(2), answer: Some("x".to_owned()), ..Sample::default() };
        assert_eq!(good, Outcome::Measured(Sample { guest_faults: Some(4), ..expected }));
        let refused = outcome(2, "", "warning: x\nbifold: no pool: echo 1\n", None);
        assert_eq!(refused, Outcome::Refused("no pool: echo 1".to_owned()));
        for failed in [
            outcome(2, "", "wrong argument\n", Some(&report("exited", "2"))),
            outcome(3, "", "bifold: it broke\n", Some(&report("crashed", "null"))),
            outcome(9, "", "", None),
            outcome(0, "nonsense", "", Some(&report("exited", "0"))),
        ] {
            assert!(matches!(failed, Outcome::Failed(_)), "{failed:?}");
        }
    }
}
