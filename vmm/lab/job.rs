//! A job: what runs in the lab, and the files that it needs there.
//!
//! The rule for files is short. An argument that names a regular file of this machine is carried to the same path in the
//! lab, and so is the part of it before a colon (`--file HOST:GUEST`) or after an equals sign (`--file=HOST`); of a program its
//! libraries, too, and of a folder that `--dir` names the files under it. The working directory is the same. A file that such an argument names and the job writes is carried back; for one that is not there yet,
//! the lab has its folder, if this machine has.

use std::collections::BTreeSet;
use std::env;
use std::path::{Component, Path, PathBuf};

use lab_init::{Module, Spec};

use super::LabError;
use super::initrd::{Initrd, Tree};
use super::machine::Machine;
use super::parts::Kernel;
use crate::devices::FolderSpec;
use crate::machine::libraries;

/// The lab's process 1.
const INIT: &[u8] = include_bytes!(env!("BIFOLD_LAB_INIT"));
/// Variables that reach the job: those that its own output depends on.
const INHERITED: &[&str] = &["RUST_", "BIFOLD_", "COLUMNS", "NO_COLOR"];

/// What to run.
#[derive(Debug)]
pub struct Job {
    /// The commands, one after the other.
    pub commands: Vec<lab_init::Command>,
    /// Programs to carry, with the shared libraries that each needs.
    pub programs: BTreeSet<PathBuf>,
    /// Other files to carry.
    pub files: BTreeSet<PathBuf>,
    /// Files to carry back if a command writes them.
    pub outputs: BTreeSet<PathBuf>,
    /// Where the commands run.
    pub directory: PathBuf,
    /// Whether this process's standard input goes to the job; without it the job's input is empty.
    pub stdin: bool,
    /// Whether what the commands took is wanted.
    pub count: bool,
}

impl Job {
    /// This command itself with other arguments, and the files that they name.
    ///
    /// # Errors
    /// This program's own file or the working directory cannot be found.
    pub fn bifold(arguments: Vec<String>) -> Result<Self, LabError> {
        let program = env::current_exe().map_err(LabError::file("find", Path::new("this program")))?;
        Self::of(program, arguments)
    }

    /// A program for the lab's own Linux, given with its arguments, and the files that they name.
    ///
    /// # Errors
    /// There is no such program.
    pub fn linux(mut command: Vec<String>) -> Result<Self, LabError> {
        let name = PathBuf::from(if command.is_empty() { String::new() } else { command.remove(0) });
        let program = name.canonicalize().map_err(LabError::file("find", &name))?;
        Self::of(program, command)
    }

    fn of(program: PathBuf, arguments: Vec<String>) -> Result<Self, LabError> {
        let directory = env::current_dir().map_err(LabError::file("find", Path::new(".")))?;
        let mut named = named_paths(&arguments, &directory);
        named.extend(files_of_folders(&arguments, &directory));
        let command = lab_init::Command { title: None, program: program.clone(), arguments };
        Ok(Self {
            commands: vec![command],
            programs: [program].into(),
            outputs: named.iter().filter(|path| can_be_written(path)).cloned().collect(),
            files: named.into_iter().filter(|path| path.is_file()).collect(),
            directory,
            stdin: true,
            count: false,
        })
    }

    /// Puts it all into an initrd, with what process 1 does on this machine before the job.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn pack(self, machine: &Machine, kernel: &Kernel) -> Result<Initrd, LabError> {
        let mut tree = Tree::default();
        tree.program("/init", INIT);
        tree.folder("/dev");
        tree.folder("/tmp");
        let mut loaded = Vec::new();
        for (host, parameters) in machine.modules(kernel) {
            let path = Path::new("/lab").join(host.file_name().unwrap_or_default());
            tree.file(&path, host);
            loaded.push(Module { path, parameters });
        }
        for file in self.files.iter().chain(&self.programs) {
            tree.file(file, file);
        }
        tree.folder(&self.directory);
        for folder in self.outputs.iter().filter_map(|output| output.parent()) {
            tree.folder(folder);
        }
        let mut library_folders = BTreeSet::new();
        for program in self.programs.iter().chain(&self.files) {
            for library in libraries::of(program) {
                library_folders.extend(library.parent().map(|folder| folder.display().to_string()));
                tree.file(&library, &library);
            }
        }
        let library_path = library_folders.into_iter().collect::<Vec<_>>().join(":");
        let spec = Spec {
            modules: loaded,
            huge_pages: machine.huge_pages.wanted(),
            commands: self.commands,
            environment: environment(library_path),
            directory: self.directory,
            outputs: self.outputs.into_iter().collect(),
            stdin: self.stdin,
            count: self.count,
        };
        let spec = serde_json::to_vec(&spec).map_err(|error| LabError::Failure(error.to_string()))?;
        tree.program(Spec::PATH, spec);
        tree.pack()
    }
}

fn environment(library_path: String) -> Vec<(String, String)> {
    let fixed =
        [("PATH", "/usr/bin:/bin"), ("HOME", "/tmp")].map(|(name, value)| (name.into(), value.into()));
    let inherited = variables().filter(|(name, _)| INHERITED.iter().any(|prefix| name.starts_with(prefix)));
    let library_path = [("LD_LIBRARY_PATH".to_owned(), library_path)];
    fixed.into_iter().chain(library_path).chain(inherited).collect()
}

/// This process's variables, but for those that are not UTF-8.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// What arguments may name, as absolute paths.
fn named_paths(arguments: &[String], directory: &Path) -> BTreeSet<PathBuf> {
    let candidates = arguments.iter().flat_map(|argument| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        let before_colon = value.split_once(':').map_or(value, |(file, _)| file);
        [argument.as_str(), value, before_colon]
    });
    candidates.map(|name| absolute(name, directory)).collect()
}

/// The files under the folders that `--dir HOST[:GUEST]` names; what is wrong with one is said by the job itself.
fn files_of_folders(arguments: &[String], directory: &Path) -> Vec<PathBuf> {
    let next = arguments.iter().skip(1).map(Some).chain([None]);
    let folders =
        arguments.iter().zip(next).filter_map(|(argument, next)| match argument.strip_prefix("--dir") {
            Some("") => next.map(String::as_str),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        });
    let files = folders.filter_map(|folder| folder.parse::<FolderSpec>().ok()?.files().ok());
    files.flatten().map(|file| absolute(&file.host.to_string_lossy(), directory)).collect()
}

/// Whether a command could leave a regular file here. Nobody knows which arguments name such: the lab looks at all of
/// them when it is done.
fn can_be_written(path: &Path) -> bool {
    path.is_file() || !path.exists() && path.parent().is_some_and(Path::is_dir)
}

/// `name` from `directory` without `.` and `..`, so that it needs no folder that is not carried.
pub fn absolute(name: &str, directory: &Path) -> PathBuf {
    let mut path = PathBuf::new();
    for component in directory.join(name).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            _ => path.push(component),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_carried_wherever_an_argument_names_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        for name in ["prog", "in.bin", "k=v"] {
            fs::write(path.join(name), name).expect("a file");
        }
        fs::create_dir(path.join("sub")).expect("a folder");
        let arguments =
            ["run", "--ram", "24M", "--file", "in.bin:/data:ro", "sub/../prog", "--x=./prog", "k=v", "sub"];
        let named = named_paths(&arguments.map(str::to_owned), path);
        let files: Vec<_> = named.iter().filter(|path| path.is_file()).cloned().collect();
        assert_eq!(files, ["in.bin", "k=v", "prog"].map(|name| path.join(name)));
    }

    #[test]
    fn what_is_carried_back_has_a_place_here() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        fs::write(path.join("old"), "").expect("a file");
        let arguments = ["--json=new", "--trace", "old", "none/new", "."].map(str::to_owned);
        let named = named_paths(&arguments, path);
        let wanted = ["old", "new", "none/new", ""].map(|name| named.contains(&path.join(name)));
        assert_eq!(wanted, [true; 4]);
        let places = ["old", "new", "none/new", ""].map(|name| can_be_written(&path.join(name)));
        assert_eq!(places, [true, true, false, false]);
    }
}
