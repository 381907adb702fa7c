//! The parts of a lab: where each is on this machine, or in the cache.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LabError;
use super::apt;
use super::cache::Tree;

/// QEMU and what it needs, as the cache has it.
pub const QEMU: Tree = Tree {
    name: "qemu",
    part: "QEMU",
    packages: &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"],
    keep: &["bin/qemu-system-x86_64", "lib/x86_64-linux-gnu/", "share/qemu/", "share/seabios/"],
    resolve: apt::closure,
};

/// The kernel, as the cache has it. The package's own dependencies (what installs it) are not needed.
pub const KERNEL: Tree = Tree {
    name: "kernel",
    part: "Linux kernel with KVM modules",
    packages: &["linux-image-6.12-cloud-amd64"],
    keep: &["boot/vmlinuz-", "kernel/arch/x86/kvm/", "kernel/virt/lib/irqbypass.ko"],
    resolve: |packages| {
        let images: Result<Vec<String>, String> =
            packages.iter().map(|name| apt::first_dependency(name)).collect();
        apt::alone(&images?.iter().map(String::as_str).collect::<Vec<_>>())
    },
};

/// Bochs and what makes a bootable CD, as the cache has them.
pub const BOCHS: Tree = Tree {
    name: "bochs",
    part: "Bochs",
    packages: &["bochs", "bochs-term", "bochsbios", "vgabios", "isolinux", "syslinux-common", "genisoimage"],
    keep: &[
        "usr/bin/bochs-bin",
        "usr/bin/genisoimage",
        "lib/x86_64-linux-gnu/",
        "share/bochs/BIOS",
        "share/vgabios/vgabios.bin",
        "ISOLINUX/isolinux.bin",
        "modules/bios/ldlinux.c32",
    ],
    resolve: apt::closure,
};

/// QEMU, the AMD machine's emulator.
#[derive(Debug)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// The cache's tree, when it is from there.
    tree: Option<PathBuf>,
}

impl Qemu {
    /// On the PATH, in the cache, or from apt.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn locate() -> Result<Self, LabError> {
        if let Some(program) = on_path("qemu-system-x86_64") {
            return Ok(Self { program, tree: None });
        }
        let tree = QEMU.provide()?;
        Ok(Self { program: tree.join("usr/bin/qemu-system-x86_64"), tree: Some(tree) })
    }

    /// A command line that starts it, so far without arguments but for where its own files are.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(tree) = &self.tree {
            command.env("LD_LIBRARY_PATH", library_path(tree));
            for folder in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(tree.join(folder));
            }
        }
        command
    }
}

/// Bochs, the Intel machine's emulator.
#[derive(Debug)]
pub struct Bochs {
    /// The file system that it is installed in: the machine's own or the cache's.
    root: PathBuf,
}

impl Bochs {
    /// Installed, in the cache, or from apt.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn locate() -> Result<Self, LabError> {
        let installed = ["usr/bin/bochs-bin", "usr/bin/genisoimage", "usr/lib/ISOLINUX/isolinux.bin"];
        if installed.iter().all(|file| Path::new("/").join(file).is_file()) {
            return Ok(Self { root: PathBuf::from("/") });
        }
        Ok(Self { root: BOCHS.provide()? })
    }

    /// One of its files, by its path in the package.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.file("usr/bin/bochs-bin")
    }

    /// A command line that starts it, so far without arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env("LTDL_LIBRARY_PATH", self.file("usr/lib/x86_64-linux-gnu/bochs/plugins"));
        if self.root != Path::new("/") {
            command.env("LD_LIBRARY_PATH", library_path(&self.root));
        }
        command
    }
}

/// Whether an AMD machine's parts are on this machine or in the cache, so that nothing must be fetched.
#[must_use]
pub fn is_installed() -> bool {
    let is_cached = |tree: &Tree| tree.path().is_ok_and(|path| path.is_dir());
    let has_qemu = on_path("qemu-system-x86_64").is_some() || is_cached(&QEMU);
    has_qemu && (Kernel::under(Path::new("/")).is_some() || is_cached(&KERNEL))
}

/// Where a tree's shared libraries are.
fn library_path(tree: &Path) -> OsString {
    let folders = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
    env::join_paths(folders.map(|folder| tree.join(folder))).unwrap_or_default()
}

/// A kernel and its modules.
#[derive(Debug)]
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// Its version, as `uname -r` shows it.
    pub version: String,
    /// `irqbypass`, `kvm`, and the two vendors' modules, by name.
    modules: PathBuf,
}

impl Kernel {
    /// Installed, in the cache, or from apt.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn locate() -> Result<Self, LabError> {
        if let Some(kernel) = Self::under(Path::new("/")) {
            return Ok(kernel);
        }
        let tree = KERNEL.provide()?;
        Self::under(&tree).ok_or_else(|| KERNEL.missing(format!("{} holds none", tree.display())))
    }

    /// The newest cloud kernel of a file system: others may lack what the lab's machine needs built in.
    fn under(root: &Path) -> Option<Self> {
        let mut versions: Vec<String> = fs::read_dir(root.join("boot"))
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
            .filter(|version| version.ends_with("-cloud-amd64") && numbers(version) >= vec![6, 8])
            .collect();
        versions.sort_by_key(|version| numbers(version));
        let version = versions.pop()?;
        let kernel = Self {
            image: root.join(format!("boot/vmlinuz-{version}")),
            modules: root.join(format!("lib/modules/{version}/kernel")),
            version,
        };
        (fs::File::open(&kernel.image).is_ok() && kernel.module("kvm").is_some()).then_some(kernel)
    }

    /// The file of a module by its name (`kvm`), compressed or not.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<PathBuf> {
        ["arch/x86/kvm", "virt/lib"].iter().find_map(|folder| {
            let entries = fs::read_dir(self.modules.join(folder)).ok()?;
            entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
                let file =
                    path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
                file.split_once(".ko").is_some_and(|(stem, _)| stem == name)
            })
        })
    }
}

/// The numbers that a version starts with: `6.12.117+deb12` as 6, 12, 117.
fn numbers(version: &str) -> Vec<u32> {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].split('.').map_while(|number| number.parse().ok()).collect()
}

/// Where a program is on the PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(numbers("6.12.117+deb12-cloud-amd64"), [6, 12, 117]);
        assert!(numbers("6.12.9") < numbers("6.12.10"));
        assert!(numbers("5.10.0") < vec![6, 8]);
    }

    #[test]
    fn the_newest_kernel_that_has_kvm_is_taken() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for version in ["6.1.0-9-cloud-amd64", "6.12.9-cloud-amd64", "6.12.10-cloud-amd64", "7.0-amd64"] {
            let kvm = root.path().join(format!("lib/modules/{version}/kernel/arch/x86/kvm"));
            fs::create_dir_all(&kvm).expect("a folder");
            fs::write(kvm.join("kvm.ko.xz"), "").expect("a file");
            fs::write(kvm.join("kvm-amd.ko.xz"), "").expect("a file");
            fs::create_dir_all(root.path().join("boot")).expect("a folder");
            fs::write(root.path().join(format!("boot/vmlinuz-{version}")), "").expect("a file");
        }
        let kernel = Kernel::under(root.path()).expect("there are two");
        assert!(kernel.image.ends_with("vmlinuz-6.12.10-cloud-amd64"));
        let module = kernel.module("kvm-amd").expect("it was made");
        assert!(module.ends_with("6.12.10-cloud-amd64/kernel/arch/x86/kvm/kvm-amd.ko.xz"));
        assert_eq!(kernel.module("irqbypass"), None);
    }
}
