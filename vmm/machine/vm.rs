//! A virtual machine of KVM: its RAM, its interrupt controllers, its vCPU.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use abi::addr::Gpa;
use kvm_bindings::{
    CpuId, KVM_API_VERSION, KVM_CAP_X86_DISABLE_EXITS, KVM_MAX_CPUID_ENTRIES, KVM_X86_DISABLE_EXITS_HLT,
    kvm_enable_cap, kvm_userspace_memory_region, kvm_xcr, kvm_xcrs,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

use super::boot;
use crate::measure::KvmStats;
use crate::memory::GuestRam;

/// KVM keeps three pages for its own use here (KVM_SET_TSS_ADDR): below 4 GiB, clear of RAM and devices.
const KVM_PRIVATE: Gpa = Gpa(0xfffb_d000);

/// Why there is no VM.
#[derive(Debug, Error)]
pub enum VmError {
    /// No /dev/kvm.
    #[error(
        "/dev/kvm does not exist: use a machine (or a VM with nested virtualisation) whose kernel has KVM, and load kvm_intel or kvm_amd"
    )]
    NoKvm,
    /// No permission.
    #[error(
        "no permission to open /dev/kvm: join the group that owns it (often: usermod -aG kvm $USER) or run as root"
    )]
    Permission,
    /// Another error at opening.
    #[error("cannot open /dev/kvm: {0}; is another hypervisor using the CPU?")]
    Open(kvm_ioctls::Error),
    /// Not the API of Linux 2.6.22 and later.
    #[error(
        "/dev/kvm speaks API version {0}, this program needs {KVM_API_VERSION}: use a current Linux kernel"
    )]
    ApiVersion(i32),
    /// An extension is missing.
    #[error("this host's KVM lacks {0}: use a newer Linux kernel")]
    Extension(&'static str),
    /// A call failed.
    #[error("KVM refused to {what}: {error}; the kernel's log (dmesg) may say more")]
    Call {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        error: kvm_ioctls::Error,
    },
    /// The host's thread limit.
    #[error("the host gives no thread for the vCPU: {0}; end other programs or raise the limit (ulimit -u)")]
    Thread(String),
}

/// Gives a failed KVM call its place.
pub trait During<T> {
    /// Names what was being done.
    ///
    /// # Errors
    /// The same as before, with its place.
    fn during(self, what: &'static str) -> Result<T, VmError>;
}

impl<T> During<T> for Result<T, kvm_ioctls::Error> {
    fn during(self, what: &'static str) -> Result<T, VmError> {
        self.map_err(|error| VmError::Call { what, error })
    }
}

/// This machine's /dev/kvm, open and found to have what a VM needs.
#[derive(Debug)]
pub struct Hypervisor(Kvm);

impl Hypervisor {
    /// Opens it.
    ///
    /// # Errors
    /// KVM is missing, too old, or not for this user.
    pub fn open() -> Result<Self, VmError> {
        let kvm = Kvm::new().map_err(|error| match error.errno() {
            libc::ENOENT => VmError::NoKvm,
            libc::EACCES | libc::EPERM => VmError::Permission,
            _ => VmError::Open(error),
        })?;
        let version = kvm.get_api_version();
        if version != KVM_API_VERSION as i32 {
            return Err(VmError::ApiVersion(version));
        }
        let needed = [
            (Cap::Irqchip, "in-kernel interrupt controllers (KVM_CAP_IRQCHIP)"),
            (Cap::Irqfd, "interrupts by eventfd (KVM_CAP_IRQFD)"),
            (Cap::UserMemory, "user memory regions (KVM_CAP_USER_MEMORY)"),
            (Cap::ImmediateExit, "the immediate exit (KVM_CAP_IMMEDIATE_EXIT)"),
            (Cap::ExtCpuid, "KVM_GET_SUPPORTED_CPUID (KVM_CAP_EXT_CPUID)"),
        ];
        for (cap, name) in needed {
            if !kvm.check_extension(cap) {
                return Err(VmError::Extension(name));
            }
        }
        Ok(Self(kvm))
    }
}

/// A VM with RAM, in-kernel interrupt controllers and one vCPU.
#[derive(Debug)]
pub struct Vm {
    fd: VmFd,
    cpuid: CpuId,
    /// Kept as long as the VM: KVM maps it.
    _ram: GuestRam,
}

/// Creates a VM. The kernel gives up with EINTR when it is interrupted while it waits for a lock.
fn create(kvm: &Kvm) -> Result<VmFd, kvm_ioctls::Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            other => return other,
        }
    }
}

/// Has KVM not look after `hlt`, before there is a vCPU. A vCPU that KVM cannot halt waits for its page by itself; else KVM
/// leaves a page that is not there to a thread of the kernel's and halts the vCPU meanwhile ("asynchronous page fault"), two more
/// wake-ups for each host fault. A guest that does wait with `hlt` would then keep its CPU busy, so ours asks by [`IDLE`].
///
/// [`IDLE`]: abi::port::IDLE
fn leave_hlt_to_guest(vm: &VmFd) {
    let exits = KVM_X86_DISABLE_EXITS_HLT;
    if vm.check_extension_raw(KVM_CAP_X86_DISABLE_EXITS.into()) & exits as i32 == 0 {
        return log::info!("this host's KVM makes host faults asynchronous: they take longer");
    }
    let capability = kvm_enable_cap {
        cap: KVM_CAP_X86_DISABLE_EXITS,
        args: [exits.into(), 0, 0, 0],
        ..Default::default()
    };
    if let Err(error) = vm.enable_cap(&capability) {
        log::info!("KVM refuses to leave hlt to the guest: {error}; host faults take longer");
    }
}

impl Vm {
    /// Makes a VM whose RAM is `ram`. `halts`: its guest executes `hlt` when it waits.
    ///
    /// # Errors
    /// KVM refuses.
    pub fn new(hypervisor: &Hypervisor, ram: GuestRam, halts: bool) -> Result<Self, VmError> {
        let kvm = &hypervisor.0;
        let fd = create(kvm).during("create a VM")?;
        if !halts {
            leave_hlt_to_guest(&fd);
        }
        for (slot, region) in ram.regions().iter().enumerate() {
            let memory = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: 0,
                guest_phys_addr: region.range.start.0,
                memory_size: region.range.bytes,
                userspace_addr: region.start.0,
            };
            // SAFETY: the range is a mapping of this process that `_ram` keeps for as long as the VM, and
            // the ranges of `GuestRam` do not overlap, neither here nor in the guest.
            unsafe { fd.set_user_memory_region(memory) }.during("take the guest's RAM")?;
        }
        // RAM first: after the interrupt controllers, whose creation starts grace periods, each memory slot
        // waits for one (7 ms measured, against 0.05 ms).
        fd.set_tss_address(KVM_PRIVATE.0 as usize).during("set the TSS address")?;
        fd.create_irq_chip().during("create the interrupt controllers")?;
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).during("say what the CPU can do")?;
        Ok(Self { fd, cpuid, _ram: ram })
    }

    /// What the CPU and KVM can do for a guest (KVM_GET_SUPPORTED_CPUID).
    #[must_use]
    pub const fn cpuid(&self) -> &CpuId {
        &self.cpuid
    }

    /// Makes the vCPU, with the CPUID of [`Vm::cpuid`] and the vector state that it allows.
    ///
    /// # Errors
    /// KVM refuses.
    pub fn vcpu(&self) -> Result<VcpuFd, VmError> {
        let vcpu = self.fd.create_vcpu(0).during("create a vCPU")?;
        vcpu.set_cpuid2(&self.cpuid).during("set the vCPU's features")?;
        if let Some(value) = boot::xcr0(&self.cpuid) {
            let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
            xcrs.xcrs[0] = kvm_xcr { xcr: 0, value, ..Default::default() };
            vcpu.set_xcrs(&xcrs).during("set the vCPU's vector state")?;
        }
        Ok(vcpu)
    }

    /// What KVM has counted about the VM.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<String, u64> {
        statistics(&self.fd)
    }

    /// Makes a write to `event` an interrupt on line `gsi`.
    ///
    /// # Errors
    /// KVM refuses.
    pub fn connect_interrupt(&self, event: &EventFd, gsi: u32) -> Result<(), VmError> {
        self.fd.register_irqfd(event, gsi).during("connect an interrupt")
    }
}

/// What KVM has counted about a VM or a vCPU; nothing where it does not say (before Linux 5.14).
pub fn statistics(descriptor: &impl AsRawFd) -> BTreeMap<String, u64> {
    let read = KvmStats::open(descriptor).and_then(|stats| stats.read());
    read.inspect_err(|error| log::warn!("KVM gives no statistics: {error}")).unwrap_or_default()
}
