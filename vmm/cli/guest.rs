//! How the guest's kernel pages, on the command line.

use paging::policy::PolicyKind;

use super::policy;
use crate::machine::{GuestPage, GuestPaging, LoadControl};
use crate::memory::Size;

/// How the guest's kernel pages.
#[derive(Debug, clap::Args)]
pub struct GuestArgs {
    /// Which pages the guest evicts
    #[arg(long, value_name = "POLICY", default_value = "clock", value_parser = policy::parser())]
    pub guest_policy: PolicyKind,
    /// What the program's anonymous memory consists of, where it fits: 4k, 2m or 1g; with 4k, a program can still ask for huge pages
    #[arg(long, value_name = "SIZE", default_value = "4k")]
    pub guest_page: GuestPage,
    /// How much of each process's anonymous memory may be in guest RAM: with more, it pages among its own [default: all of it]
    #[arg(long, value_name = "SIZE")]
    pub resident_limit: Option<Size>,
    /// Read each page from the guest's swap only when it is asked for
    #[arg(long)]
    pub no_swap_readahead: bool,
    /// Swap whole processes, as systems without paging did: one runs only with all of its pages in RAM
    #[arg(long)]
    pub swap_processes: bool,
    /// When the working sets of all processes do not fit into RAM together: off, watch (estimate them) or on (let some wait)
    #[arg(long, value_name = "off|watch|on", default_value = "off")]
    pub load_control: LoadControl,
    /// Flush the TLB at each switch between processes, even where the CPU could keep them apart by PCID
    #[arg(long)]
    pub no_pcid: bool,
}

impl GuestArgs {
    /// What the kernel is told.
    pub const fn paging(&self) -> GuestPaging {
        GuestPaging {
            policy: self.guest_policy,
            page: self.guest_page,
            resident_limit: self.resident_limit,
            readahead: !self.no_swap_readahead,
            swaps_processes: self.swap_processes,
            load_control: self.load_control,
            pcid: !self.no_pcid,
        }
    }
}
