//! Swap of the host's own, for as long as it is wanted: compressed in memory by zram, or a file. Root only.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Swap that is switched on. Dropping it switches it off and leaves nothing behind.
pub struct HostSwap {
    area: PathBuf,
    /// Number of the zram device that was made for it.
    zram: Option<String>,
}

const CONTROL: &str = "/sys/class/zram-control";

impl HostSwap {
    /// Swap in memory, compressed by LZ4.
    pub fn zram(bytes: u64) -> Result<Self, String> {
        if !Path::new(CONTROL).exists() {
            // Its message says what is missing.
            tool("modprobe", &["zram"])?;
        }
        let number = read(&format!("{CONTROL}/hot_add"))?;
        let mut swap = Self { area: format!("/dev/zram{number}").into(), zram: Some(number.clone()) };
        let set = |what, value: &str| write(&format!("/sys/block/zram{number}/{what}"), value);
        set("comp_algorithm", "lz4")?;
        set("disksize", &bytes.to_string())?;
        swap.switch_on()?;
        Ok(swap)
    }

    /// Swap in a new file in `folder`.
    pub fn file(bytes: u64, folder: &Path) -> Result<Self, String> {
        let mut swap = Self { area: folder.join(format!("swap-{}", std::process::id())), zram: None };
        let size = bytes.to_string();
        let area = swap.name();
        tool("fallocate", &["-l", &size, &area])?;
        tool("chmod", &["600", &area])?;
        swap.switch_on()?;
        Ok(swap)
    }

    fn switch_on(&mut self) -> Result<(), String> {
        tool("mkswap", &[&self.name()])?;
        tool("swapon", &["--priority", "100", &self.name()])
    }

    fn name(&self) -> String {
        self.area.display().to_string()
    }
}

impl Drop for HostSwap {
    fn drop(&mut self) {
        // It was not on if switching it on had failed.
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&self.name())) {
            report(tool("swapoff", &[&self.name()]));
        }
        match &self.zram {
            Some(number) => report(write(&format!("{CONTROL}/hot_remove"), number)),
            None => report(fs::remove_file(&self.area).map_err(|error| error.to_string())),
        }
    }
}

/// Whether the host swaps already.
pub fn is_on() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

fn report(result: Result<(), String>) {
    if let Err(error) = result {
        eprintln!("host swap was not cleaned up: {error}");
    }
}

/// Reads a file of sysfs once: reading `hot_add` makes a device.
fn read(path: &str) -> Result<String, String> {
    let mut text = [0; 64];
    let length = fs::File::open(path).and_then(|mut file| file.read(&mut text));
    let length = length.map_err(|error| format!("{path}: {error}; run it as root, on a kernel with zram"))?;
    Ok(String::from_utf8_lossy(&text[..length]).trim().to_owned())
}

fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|error| format!("cannot write {value} to {path}: {error}"))
}

fn tool(name: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}; install util-linux and kmod"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
