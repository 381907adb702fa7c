//! How pages are made smaller in memory.

use std::fmt;
use std::str::FromStr;

use abi::addr::PAGE_SIZE;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

use super::PageBytes;

/// A compression format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Codec {
    /// LZ4: the fastest.
    #[default]
    Lz4,
    /// Zstandard at its level 1: smaller, and several times slower.
    Zstd,
    /// Pages are kept as they are.
    None,
}

impl Codec {
    /// What users call them, in the order of the above.
    pub const NAMES: [&'static str; 3] = ["lz4", "zstd", "none"];

    /// What users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Lz4, Self::Zstd, Self::None].into_iter().find(|codec| codec.name() == name);
        known.ok_or_else(|| format!("{name:?} is no way to compress: there are {}", Self::NAMES.join(", ")))
    }
}

/// A page that does not become smaller than this is kept as it is: what it would save is not worth the time
/// of unpacking it.
const WORTH_IT: usize = PAGE_SIZE * 3 / 4;
/// Enough for what a page becomes at worst, in either format.
const OUTPUT: usize = PAGE_SIZE + 512;
const _: () = assert!(get_maximum_output_size(PAGE_SIZE) <= OUTPUT);
const ZSTD_LEVEL: i32 = 1;

/// What one thread needs to pack and to unpack pages; made once and used again.
pub(super) struct Workspace {
    lz4: CompressTable,
    /// Made when first used: they are large.
    zstd: Option<(Compressor<'static>, Decompressor<'static>)>,
    output: Box<[u8; OUTPUT]>,
}

impl Workspace {
    fn new() -> Self {
        Self { lz4: CompressTable::small(), zstd: None, output: Box::new([0; OUTPUT]) }
    }

    /// The page, packed; `None` if it is better kept as it is.
    pub(super) fn pack(&mut self, codec: Codec, page: &PageBytes) -> Option<&[u8]> {
        let packed = match codec {
            Codec::Lz4 => compress_into_with_table(&page.0, &mut self.output[..], &mut self.lz4).ok()?,
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = zstd();
                }
                let (compressor, _) = self.zstd.as_mut()?;
                compressor.compress_to_buffer(&page.0, &mut self.output[..]).ok()?
            }
            Codec::None => return None,
        };
        (packed < WORTH_IT).then(|| &self.output[..packed])
    }

    /// Unpacks what [`Workspace::pack`] made of a page. Whether that succeeded; what came out is to be
    /// checked by its digest in any case.
    fn unpack(&mut self, packed: &[u8], page: &mut PageBytes) -> bool {
        if self.zstd.is_none() {
            self.zstd = zstd();
        }
        self.zstd.as_mut().is_some_and(|(_, decompressor)| {
            matches!(decompressor.decompress_to_buffer(packed, &mut page.0[..]), Ok(PAGE_SIZE))
        })
    }
}

fn zstd() -> Option<(Compressor<'static>, Decompressor<'static>)> {
    Some((Compressor::new(ZSTD_LEVEL).ok()?, Decompressor::new().ok()?))
}

/// Workspaces for whoever packs or unpacks now.
#[derive(Default)]
pub(super) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Lends one.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let idle = self.0.lock().pop();
        let mut workspace = idle.unwrap_or_else(Workspace::new);
        let result = work(&mut workspace);
        self.0.lock().push(workspace);
        result
    }

    /// Makes the page of a blob; a blob of a page's size is the page. Whether that succeeded.
    pub(super) fn unpack(&self, codec: Codec, blob: &[u8], page: &mut PageBytes) -> bool {
        match <&[u8; PAGE_SIZE]>::try_from(blob) {
            Ok(raw) => {
                page.0 = *raw;
                true
            }
            Err(_) if codec == Codec::Lz4 => matches!(decompress_into(blob, &mut page.0), Ok(PAGE_SIZE)),
            Err(_) => self.with(|workspace| workspace.unpack(blob, page)),
        }
    }
}

impl fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspaces").finish_non_exhaustive()
    }
}
