//! The options that say where pages out of RAM go.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::compare::nearest::nearest;
use crate::memory::Size;
use crate::pager::MIN_BUDGET;
use crate::store::{Codec, FaultSpec, FaultSpecError, StoreConfig, StoreSpec};

/// A store and its tiers.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Where pages out of RAM go: a folder, a new file, a block device (all on it is lost), or memory
    /// [default: the folder for temporary files]
    #[arg(long, value_name = "PATH|memory")]
    pub store: Option<StoreSpec>,
    /// How pages in the store's memory are compressed
    #[arg(long, value_name = "CODEC", default_value = "lz4",
        value_parser = PossibleValuesParser::new(Codec::NAMES).try_map(|name| name.parse::<Codec>()))]
    pub compress: Codec,
    /// Most memory for compressed pages; in front of a file it is a part of --host-ram, and 0 is none
    /// [default: a quarter of --host-ram; no limit with --store memory]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub compressed: Option<u64>,
    /// For tests: have the store's file fail, as in
    /// read-eio=0.01,write-enospc@100..200,short=0.1,torn=0.01,flip=0.001,delay=5ms:0.1,seed=1
    #[arg(long, value_name = "FAULTS", value_parser = faults, hide_short_help = true)]
    pub store_faults: Option<FaultSpec>,
}

impl StoreArgs {
    /// What they say.
    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            place: self.store.clone().unwrap_or_default(),
            codec: self.compress,
            compressed: self.compressed,
            faults: self.store_faults.clone().unwrap_or_default(),
        }
    }

    /// Whether no file is behind the memory.
    pub fn is_in_memory(&self) -> bool {
        self.store == Some(StoreSpec::Memory)
    }

    /// Whether they leave the guest enough of its budget.
    pub fn check(&self, budget: Option<Size>) -> Result<(), String> {
        let (Some(budget), Some(compressed)) = (budget, self.compressed) else { return Ok(()) };
        let least = Size::from_pages(MIN_BUDGET);
        if self.is_in_memory() || compressed + least.bytes() <= budget.bytes() {
            return Ok(());
        }
        Err(format!("--compressed leaves less than {least} of --host-ram {budget}: give less, or 0 for none"))
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    text.parse::<Size>().map(Size::bytes).map_err(|error| error.to_string())
}

fn faults(text: &str) -> Result<FaultSpec, String> {
    text.parse().map_err(|error: FaultSpecError| match &error {
        FaultSpecError::Unknown(name) => {
            format!("{error}{}", nearest(name, FaultSpec::NAMES.into_iter()))
        }
        FaultSpecError::Value(_) => error.to_string(),
    })
}
