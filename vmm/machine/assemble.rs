//! Puts a machine together: RAM, VM, pager, devices, kernel.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use abi::addr::{Gpa, PAGE_SIZE};
use abi::boot::{Device, DeviceKind, RamRange, option};
use abi::layout::{KERNEL, KERNEL_TABLES};
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use thiserror::Error;

use super::board::{Board, BoardError, Buses};
use super::boot::{self, BootError, Clocks, Start};
use super::config::{Config, Guest, Program};
use super::vm::{During, Vm, VmError};
use crate::control::ControlError;
use crate::devices::{FileDisk, FileError, GuestLog, InputReader, SwapDisk, TracePort};
use crate::guest;
use crate::memory::{Backing, GuestRam, RamError};
use crate::pager::{
    self, AnyPager, KernelPager, Pager, PagerConfig, PagerError, PagerKind, ReferenceSource, Word,
};
use crate::store::{Store, StoreError};

/// Why a machine could not be built, or could not go on.
#[derive(Debug, Error)]
pub enum MachineError {
    /// No guest RAM.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// No VM.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// No devices.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// No kernel.
    #[error("the kernel {0}")]
    Boot(#[from] BootError),
    /// No file disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// No place for pages.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host cannot page, or not any more.
    #[error(transparent)]
    Pager(#[from] PagerError),
    /// No trace.
    #[error("the trace cannot be written: {0}; make room, or name another file with --trace")]
    Trace(io::Error),
    /// No control.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No signal handlers.
    #[error("cannot watch for signals: {0}; raise the limit of open files (ulimit -n)")]
    Signals(io::Error),
}

/// A machine before its start. Dropped in order: first who uses guest RAM, then who pages it.
pub struct Machine {
    /// Ready to enter the kernel.
    pub vcpu: VcpuFd,
    /// What its exits reach.
    pub buses: Arc<Buses>,
    /// Reads the program's input.
    pub input: Option<InputReader>,
    /// The VM that the vCPU belongs to.
    pub vm: Vm,
    /// Pages guest RAM, where there is less on the host.
    pub pager: Option<AnyPager>,
    /// Guest RAM.
    pub ram: GuestRam,
    /// Frequency of the guest's time-stamp counter.
    pub tsc_khz: u64,
    /// When to end the run from outside.
    pub timeout: Option<Duration>,
    /// Where the run can be controlled.
    pub control: Option<PathBuf>,
    /// Whether the kernel is ours and keeps counters for us.
    pub ours: bool,
}

impl Machine {
    /// Builds a machine. `tell` is called with what the host's pager has to say while it runs.
    ///
    /// # Errors
    /// A part cannot be had.
    pub fn new(mut config: Config, tell: impl Fn(Word) + Send + 'static) -> Result<Self, MachineError> {
        let ram = GuestRam::backed(config.ram, config.backing)?;
        let ours = matches!(config.guest, Guest::Program(_));
        let vm = Vm::new(&config.hypervisor, ram.clone(), !ours)?;
        let vcpu = vm.vcpu()?;
        let store = open_store(&config)?;
        // Before anything touches guest RAM: the pager must know of every page in it.
        let pager = start_pager(&mut config, &ram, store.as_ref(), tell)?;
        let clocks = clocks(&vcpu)?;
        let reads_tables = config.host_reference == ReferenceSource::GuestTables && pager.is_some();
        let parts = Parts { vm: &vm, ram: &ram, vcpu: &vcpu, pager: pager.as_ref(), clocks, reads_tables };
        let (buses, input) = match config.guest {
            Guest::Kernel(image) => (parts.kernel_alone(&image)?, None),
            Guest::Program(program) => parts.program(*program, store)?,
        };
        let (tsc_khz, timeout, control) = (clocks.tsc_khz, config.timeout, config.control);
        Ok(Self { vcpu, buses, input, vm, pager, ram, tsc_khz, timeout, control, ours })
    }
}

/// What a guest is built from.
struct Parts<'a> {
    vm: &'a Vm,
    ram: &'a GuestRam,
    vcpu: &'a VcpuFd,
    pager: Option<&'a AnyPager>,
    clocks: Clocks,
    /// The host reads the guest's page tables.
    reads_tables: bool,
}

impl Parts<'_> {
    fn kernel_alone(&self, image: &[u8]) -> Result<Arc<Buses>, MachineError> {
        let (buses, devices) = Board::new(self.vm, self.ram, io::stdout())?.finish();
        self.enter(image, &Start::default(), &devices)?;
        Ok(buses)
    }

    fn program(
        &self,
        program: Program,
        store: Option<Arc<Store>>,
    ) -> Result<(Arc<Buses>, Option<InputReader>), MachineError> {
        let Program { mut start, files, swap, trace, paging, streams } = program;
        let mut board = Board::new(self.vm, self.ram, GuestLog::default())?;
        if let (Some(swap), Some(store)) = (swap, store) {
            board.add_disk(DeviceKind::SWAP_DISK, SwapDisk::new(swap, store))?;
        }
        start.options.push(format!("{}={}", option::FILES, files.len()));
        board.add_disk(DeviceKind::FILE_DISK, FileDisk::new(files)?)?;
        if let Some(trace) = trace {
            start.options.push(format!("{}=on", option::TRACE));
            let port = TracePort::new(self.ram.memory().clone(), trace, self.clocks.tsc_khz);
            board.add_trace_port(port.map_err(MachineError::Trace)?)?;
        }
        if self.reads_tables {
            start.options.push(format!("{}=on", option::ROOTS));
        }
        let input = board.add_streams(streams)?;
        let (buses, devices) = board.finish();
        start.options.extend(paging.options());
        start.options.push(format!("{}={}", option::LOG, log::max_level().as_str().to_lowercase()));
        let end = self.enter(guest::KERNEL, &start, &devices)?;
        if let Some(pager) = self.pager {
            let bytes = (end.0 - KERNEL.0).next_multiple_of(PAGE_SIZE as u64) + KERNEL_TABLES;
            pager.wire(RamRange { start: KERNEL, bytes });
        }
        Ok((buses, Some(input)))
    }

    /// Loads a kernel, puts the vCPU at its entry, and returns where the kernel ends.
    fn enter(&self, image: &[u8], start: &Start, devices: &[Device]) -> Result<Gpa, MachineError> {
        let (entry, end) = boot::load_kernel(self.ram, image)?;
        boot::write_tables(self.ram)?;
        boot::write_boot_info(self.ram, start, devices, self.vm.cpuid(), self.clocks)?;
        let mut sregs = self.vcpu.get_sregs().during("give the system registers")?;
        boot::set_entry_mode(&mut sregs);
        self.vcpu.set_sregs(&sregs).during("take the system registers")?;
        self.vcpu.set_regs(&boot::entry_registers(entry)).during("take the registers")?;
        Ok(end)
    }
}

/// Opens the store that both levels share, where either needs one: room for what the pager
/// needs and for every page of swap.
fn open_store(config: &Config) -> Result<Option<Arc<Store>>, StoreError> {
    let paged = config.host_ram.filter(|_| config.host_pager == PagerKind::Uffd);
    let paged = paged.map_or(0, |_| pager::slots_needed(config.ram));
    let swap = match &config.guest {
        Guest::Program(program) => program.swap.map_or(0, |swap| swap.pages()),
        Guest::Kernel(_) => 0,
    };
    // More than a store can have is more than any disk has, which the store reports.
    let capacity = u32::try_from(paged.saturating_add(swap)).unwrap_or(u32::MAX);
    let store = config.store.clone().with_budget(config.host_ram.map(|budget| budget.bytes()));
    (capacity > 0).then(|| Store::with(&store, capacity).map(Arc::new)).transpose()
}

fn start_pager(
    config: &mut Config,
    ram: &GuestRam,
    store: Option<&Arc<Store>>,
    tell: impl Fn(Word) + Send + 'static,
) -> Result<Option<AnyPager>, PagerError> {
    let Some(budget) = config.host_ram else { return Ok(None) };
    if config.host_pager == PagerKind::Kernel {
        return KernelPager::start(ram, budget, config.host_policy, tell).map(AnyPager::Kernel).map(Some);
    }
    let Some(store) = store else { return Ok(None) };
    let config = PagerConfig {
        budget,
        policy: config.host_policy,
        store: Arc::clone(store),
        reference: config.host_reference,
        eviction: None,
        huge: (config.backing == Some(Backing::Transparent)).then_some(config.huge_swap),
        trace: config.host_trace.take(),
    };
    Pager::start(ram, config, move |error| tell(Word::Failed(error))).map(AnyPager::Uffd).map(Some)
}

/// The time-stamp counter (Intel SDM vol. 4, IA32_TIME_STAMP_COUNTER).
const MSR_TSC: u32 = 0x10;

fn clocks(vcpu: &VcpuFd) -> Result<Clocks, VmError> {
    let tsc_khz = u64::from(vcpu.get_tsc_khz().during("give the time-stamp counter's frequency")?);
    let wanted = [kvm_msr_entry { index: MSR_TSC, ..Default::default() }];
    let mut msrs = Msrs::from_entries(&wanted).map_err(|_| VmError::Extension("KVM_GET_MSRS"))?;
    vcpu.get_msrs(&mut msrs).during("give the time-stamp counter")?;
    let tsc = msrs.as_slice().first().map_or(0, |entry| entry.data);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Clocks { tsc_khz, tsc, unix_ns: since_1970.as_nanos() as u64 })
}
