//! A memory cgroup for one program, version 1 or 2, whichever the host has. Root only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A group with a limit. Dropping it removes it.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A new group of processes that have at most `bytes` of memory together; what is in swap does not count.
    pub fn new(bytes: u64) -> Result<Self, String> {
        let (root, limit) = if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            ("/sys/fs/cgroup", "memory.max")
        };
        let folder = Path::new(root).join(format!("bifold-overcommit-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| {
            format!("cannot make a memory cgroup at {}: {error}; run it as root", folder.display())
        })?;
        let group = Self(folder);
        let limit = group.0.join(limit);
        fs::write(&limit, bytes.to_string()).map_err(|error| {
            format!("cannot limit memory by {}: {error}; enable the memory controller", limit.display())
        })?;
        Ok(group)
    }

    /// A command that runs a program in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(&self.0).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process has been waited for; the kernel may take a moment to notice.
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            fs::remove_dir(&self.0).is_ok()
        });
        if !gone {
            eprintln!("the cgroup {} could not be removed", self.0.display());
        }
    }
}
