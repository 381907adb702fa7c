//! A program that the command carries, in a guest of its own, its output kept.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::time::Instant;

use paging::policy::PolicyKind;
use rustix::fs::{MemfdFlags, memfd_create};

use super::board::Streams;
use super::boot::Start;
use super::config::{Config, Guest, Program};
use super::guest_paging::GuestPaging;
use super::vm::Hypervisor;
use crate::devices::DiskFile;
use crate::memory::Size;
use crate::pager::{HugeSwap, PagerKind, ReferenceSource};
use crate::store::StoreConfig;

/// A bundled program, and the machine that it gets.
pub struct Bundled {
    /// Where it is in the guest.
    pub path: &'static str,
    /// The program.
    pub image: &'static [u8],
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
    /// The other files that it sees, by their paths.
    pub files: Vec<DiskFile>,
    /// Guest RAM.
    pub ram: Size,
    /// The host's budget; `None`: the host's kernel backs all of guest RAM.
    pub host_ram: Option<Size>,
    /// Size of the guest's swap disk.
    pub swap: Size,
    /// How the guest's kernel pages.
    pub paging: GuestPaging,
    /// Which frames the host evicts.
    pub host_policy: PolicyKind,
    /// Where pages out of RAM are.
    pub store: StoreConfig,
}

/// What a program prints, kept in memory.
pub struct Output(File);

impl Bundled {
    /// Its name and its arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(self.path.to_owned()).chain(self.arguments.iter().cloned()).collect()
    }

    /// The run, and where its standard output goes. Its input is empty; what it says on standard error is
    /// seen.
    ///
    /// # Errors
    /// The host has no memory for the output, or a path is none that the guest can have.
    pub fn config(self, hypervisor: Hypervisor) -> io::Result<(Config, Output)> {
        let output = File::from(memfd_create("output", MemfdFlags::CLOEXEC)?);
        let streams = Streams {
            input: File::open("/dev/null")?.into(),
            output: output.try_clone()?.into(),
            error: io::stderr().as_fd().try_clone_to_owned()?,
        };
        let start = Start {
            program: self.path.to_owned(),
            directory: "/".to_owned(),
            argv: self.argv(),
            envp: vec!["PATH=/bin".to_owned(), "HOME=/".to_owned()],
            ..Start::default()
        };
        let mut files = self.files;
        files.push(DiskFile::bundled(self.path, self.image).map_err(io::Error::other)?);
        // The guest's kernel puts them in this order.
        files.sort_by(|one, other| one.guest_path().cmp(other.guest_path()));
        let (swap, paging) = (Some(self.swap), self.paging);
        let program = Program { start, files, swap, trace: None, paging, streams };
        let config = Config {
            asked: Instant::now(),
            hypervisor,
            ram: self.ram,
            backing: None,
            host_ram: self.host_ram,
            host_pager: PagerKind::Uffd,
            host_policy: self.host_policy,
            huge_swap: HugeSwap::Auto,
            host_reference: ReferenceSource::default(),
            host_trace: None,
            store: self.store,
            guest: Guest::Program(Box::new(program)),
            timeout: None,
            control: None,
        };
        Ok((config, Output(output)))
    }
}

impl Output {
    /// All that was printed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
