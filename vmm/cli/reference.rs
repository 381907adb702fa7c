//! A reference source on the command line.

use crate::pager::ReferenceSource;

/// How the host finds out which pages are used.
#[derive(Debug, clap::Args)]
pub struct ReferenceArgs {
    /// How the host finds out which pages are used: soft-fault (what is touched on its way out), and with it guest-tables (accessed bits
    /// in the guest's page tables), write-protect (faults of writes; sees no reads) or pagemap (PAGEMAP_SCAN; sees no reads)
    /// [default: soft-fault]
    #[arg(long, value_name = "SOURCE")]
    pub host_reference: Option<ReferenceSource>,
}

impl ReferenceArgs {
    /// What was asked for, if it can be had with the kernel that is to run.
    pub fn source(&self, is_other_kernel: bool) -> Result<ReferenceSource, &'static str> {
        if is_other_kernel && self.host_reference == Some(ReferenceSource::GuestTables) {
            return Err(
                "--host-reference guest-tables needs bifold's own guest kernel, which says where its tables are: \
                        leave out --kernel, or name another source",
            );
        }
        Ok(self.host_reference.unwrap_or_default())
    }
}
