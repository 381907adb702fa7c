//! What KVM itself counts about a VM or a vCPU: its binary statistics (KVM API, 4.133 KVM_GET_STATS_FD).
//!
//! The descriptor starts with a header and a list of names, so nothing here knows which statistics there are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(KVM_GET_STATS_FD, kvm_bindings::KVMIO, 0xce);

/// struct kvm_stats_header and the fixed part of struct kvm_stats_desc.
const HEADER: usize = 24;
const DESCRIPTOR: usize = 16;
/// More than any kernel's list takes; a header that claims more is not believed.
const MOST_BYTES: usize = 1 << 20;

/// The counters of one VM or vCPU.
#[derive(Debug)]
pub struct KvmStats {
    file: File,
    /// Name and place of each single value.
    values: Vec<(String, u64)>,
}

impl KvmStats {
    /// Opens the statistics of a VM's or a vCPU's descriptor and reads their names.
    ///
    /// # Errors
    /// The kernel is older than 5.14, or out of descriptors.
    pub fn open(descriptor: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: the ioctl takes no argument and returns a new descriptor or -1.
        let fd = unsafe { ioctl(descriptor, KVM_GET_STATS_FD()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: KVM has just made `fd`, and nobody else knows of it.
        let file = unsafe { File::from_raw_fd(fd) };
        let header = bytes_at(&file, 0, HEADER)?;
        let [name_size, count, list, data] = [4, 8, 16, 20].map(|offset| word(&header, offset) as usize);
        let size = DESCRIPTOR.saturating_add(name_size);
        let descriptors = bytes_at(&file, list as u64, size.saturating_mul(count))?;
        let values = descriptors
            .chunks_exact(size)
            .filter(|one| half(one, 6) == 1)
            .map(|one| (name(&one[DESCRIPTOR..]), data as u64 + u64::from(word(one, 8))))
            .collect();
        Ok(Self { file, values })
    }

    /// Reads every value by its name; arrays and histograms are left out.
    ///
    /// # Errors
    /// The VM is gone.
    pub fn read(&self) -> io::Result<BTreeMap<String, u64>> {
        self.values
            .iter()
            .map(|(name, offset)| {
                let mut value = [0; 8];
                self.file.read_exact_at(&mut value, *offset)?;
                Ok((name.clone(), u64::from_ne_bytes(value)))
            })
            .collect()
    }
}

fn bytes_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    if len > MOST_BYTES {
        return Err(io::Error::other("KVM's statistics have an unknown format"));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |half| u16::from_ne_bytes(*half))
}

fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
