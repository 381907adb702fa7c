//! The project's own tests as a job: cargo builds them here, they run in the lab in one boot.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::cache::files;
use super::job::{absolute, variables};
use super::parts::on_path;
use super::{Job, LabError};

/// What tests run or look with. Those that are not installed are not carried, and the tests that need them say so.
#[rustfmt::skip]
const TOOLS: &[&str] = &[
    "/bin/sh", "bash", "busybox", "cat", "chmod", "cp", "head", "ls", "mount", "objdump", "readelf", "rm", "script",
    "setpriv", "setsid", "sha256sum", "sleep", "sort", "sqlite3", "touch", "unshare", "wc",
];
/// Tests whose names contain this run here first: they compile the programs that others run, and the lab has no
/// compiler.
const COMPILE: &str = "compile_the_guest_programs";
/// Test binaries that stay outside: one starts labs, and a lab within a lab would prove nothing more; one needs a
/// browser, which is large, and no guest; one needs the host's own swap, and one loop devices, neither of which the lab's kernel has.
const LEFT_OUT: &[&str] = &["block_device", "kernel_pager", "lab", "page"];

/// A line of `cargo --message-format=json`: only what is used here.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    BuildScriptExecuted {
        env: Vec<(String, String)>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// What cargo built: the test binaries, the commands that they run, and the files that the build script made.
#[derive(Default, PartialEq, Eq, Debug)]
struct Built {
    tests: Vec<PathBuf>,
    commands: Vec<PathBuf>,
    made: Vec<PathBuf>,
}

impl Job {
    /// Builds the project in the working directory with its tests; the job runs those whose name contains
    /// one of `filters`, or all.
    ///
    /// # Errors
    /// There is no cargo, or it fails; its own message is on standard error then.
    pub fn tests(filters: Vec<String>) -> Result<Self, LabError> {
        let directory = working_directory()?;
        let built = build(&directory)?;
        let title =
            |test: &Path| format!("     Running {}", test.strip_prefix(&directory).unwrap_or(test).display());
        let command = |test: &PathBuf| lab_init::Command {
            title: Some(title(test)),
            program: test.clone(),
            arguments: filters.clone(),
        };
        let commands = built.tests.iter().map(command).collect();
        built.job(commands, directory)
    }

    /// One test binary, which cargo has built and starts here: working directory and environment are its own.
    ///
    /// # Errors
    /// The binary does not run.
    pub fn test(binary: &str, arguments: Vec<String>) -> Result<Self, LabError> {
        let directory = working_directory()?;
        let binary = absolute(binary, &directory);
        let this = env::current_exe().map_err(LabError::file("find", Path::new("this program")))?;
        let commands = vec![lab_init::Command { title: None, program: binary.clone(), arguments }];
        // What the build script tells the compiler, cargo tells the tests, too.
        let made = variables().filter(|(name, _)| name.starts_with("BIFOLD_")).filter_map(made_file);
        Built { tests: vec![binary], commands: vec![this], made: made.collect() }.job(commands, directory)
    }
}

impl Built {
    /// The job that runs `commands`, with all that tests may use.
    fn job(self, commands: Vec<lab_init::Command>, directory: PathBuf) -> Result<Job, LabError> {
        let mut made_folders = BTreeSet::new();
        for test in &self.tests {
            compile_programs(test, &directory)?;
            // TARGET/PROFILE/deps/TEST: cargo's folder for what tests make is TARGET/tmp.
            made_folders.extend(test.ancestors().nth(3).map(|target| target.join("tmp")));
        }
        let tools = TOOLS.iter().filter_map(|tool| on_path(tool));
        let programs = tools.chain(self.tests).chain(self.commands).collect();
        let mut carried: BTreeSet<PathBuf> = self.made.into_iter().collect();
        // The tests' own files, and what they made to use again.
        for folder in ["tests", "docs/explore", "docs/traces"]
            .map(|folder| directory.join(folder))
            .iter()
            .chain(&made_folders)
        {
            carried.extend(files(folder).unwrap_or_default());
        }
        let outputs = BTreeSet::new();
        Ok(Job { commands, programs, files: carried, outputs, directory, stdin: false, count: false })
    }
}

fn working_directory() -> Result<PathBuf, LabError> {
    env::current_dir().map_err(LabError::file("find", Path::new(".")))
}

/// The file that a variable of the build script names, if it does.
fn made_file((_, value): (String, String)) -> Option<PathBuf> {
    Some(PathBuf::from(value)).filter(|path| path.is_absolute() && path.is_file())
}

fn compile_programs(test: &Path, directory: &Path) -> Result<(), LabError> {
    let mut command = Command::new(test);
    let done =
        command.arg(COMPILE).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let done = done.map_err(|error| LabError::Start { program: test.to_owned(), error })?;
    if done.success() { Ok(()) } else { Err(LabError::Build) }
}

fn build(directory: &Path) -> Result<Built, LabError> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).current_dir(directory);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| LabError::Start { program: "cargo".into(), error })?;
    if !output.status.success() {
        return Err(LabError::Build);
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads cargo's messages. A line that is none, or of a newer kind, is of no use here.
fn parse(messages: &str) -> Built {
    let mut built = Built::default();
    for message in messages.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match message {
            Message::CompilerArtifact { target, profile, executable: Some(program) } => {
                if !profile.test {
                    built.commands.push(program);
                } else if !LEFT_OUT.contains(&target.name.as_str()) {
                    built.tests.push(program);
                }
            }
            Message::BuildScriptExecuted { env } => {
                built.made.extend(env.into_iter().filter_map(made_file));
            }
            Message::CompilerArtifact { executable: None, .. } | Message::Other => {}
        }
    }
    built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_tests_commands_and_what_was_made() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"log"},"profile":{"test":false},"executable":null}
            {"reason":"build-script-executed","env":[["KERNEL","/proc/self/exe"],["N","3"]],"out_dir":"/x"}
            {"reason":"compiler-artifact","target":{"name":"p"},"profile":{"test":false},"executable":"/t/p"}
            {"reason":"compiler-artifact","target":{"name":"p"},"profile":{"test":true},"executable":"/t/p-1"}
            {"reason":"compiler-artifact","target":{"name":"lab"},"profile":{"test":true},"executable":"/t/lab-2"}
            warning: something
            {"reason":"build-finished","success":true}"#;
        let expected = Built {
            tests: vec!["/t/p-1".into()],
            commands: vec!["/t/p".into()],
            made: vec!["/proc/self/exe".into()],
        };
        assert_eq!(parse(messages), expected);
    }
}
