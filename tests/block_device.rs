//! A store in a block device: a loop device over a file.
//!
//! Needs root and `losetup` (Debian: mount); a test fails where there is neither. It stays out of the lab,
//! whose kernel comes without its modules: nothing in it needs KVM.

#![allow(clippy::expect_used)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use bifold::memory::Size;
use bifold::store::{Origin, PageBytes, Store, StoreConfig, StoreError, StoreSpec};
use tempfile::NamedTempFile;

const PAGES: u32 = 2000;

/// A loop device, until it is dropped.
struct Loop {
    path: PathBuf,
    _file: NamedTempFile,
}

impl Loop {
    fn new(size: Size) -> Self {
        let file = NamedTempFile::new_in("/var/tmp").expect("a temporary file");
        file.as_file().set_len(size.bytes()).expect("a sparse file");
        let path = losetup(&["--find", "--show", file.path().to_str().expect("plain")]);
        Self { path: path.trim().into(), _file: file }
    }

    fn open(&self, capacity: u32) -> Result<Store, StoreError> {
        let place = StoreSpec::At(self.path.clone());
        Store::with(&StoreConfig { place, compressed: Some(1 << 20), ..StoreConfig::default() }, capacity)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        losetup(&["--detach", self.path.to_str().expect("plain")]);
    }
}

fn losetup(arguments: &[&str]) -> String {
    let output = Command::new("losetup").args(arguments).output().expect("losetup: apt-get install mount");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "losetup {arguments:?}: {error} (this test needs root)");
    String::from_utf8(output.stdout).expect("a path")
}

fn page(number: u32) -> PageBytes {
    let mut page = PageBytes::zeroed();
    let mut word = u64::from(number) + 1;
    for bytes in page.0.as_chunks_mut::<8>().0 {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        *bytes = word.to_le_bytes();
    }
    page
}

#[test]
fn a_block_device_works_as_the_file_and_is_still_there_afterwards() {
    let device = Loop::new(Size::from_pages(PAGES));
    for _ in 0..2 {
        let store = device.open(PAGES).unwrap_or_else(|error| panic!("{error}"));
        let slots: Vec<_> = (0..PAGES).map(|n| store.put(&page(n)).expect("room")).collect();
        let mut read = PageBytes::zeroed();
        for (n, slot) in (0..).zip(&slots) {
            store.get(*slot, &mut read).expect("kept");
            assert!(read.0 == page(n).0, "slot {slot}");
        }
        assert_eq!(store.origin_of(slots[0]), Some(Origin::File));
        assert_eq!(store.stats().kind, "device");
    }
    assert!(Path::new(&device.path).exists());
}

#[test]
fn a_device_that_is_too_small_or_in_use_is_refused() {
    let device = Loop::new(Size::from_pages(PAGES));
    let error = device.open(PAGES + 1).expect_err("one page too many");
    assert!(matches!(error, StoreError::TooSmall { .. }), "{error}");
    let first = device.open(PAGES).expect("nobody uses it");
    let error = device.open(PAGES).expect_err("the first store does");
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    drop(first);
    drop(device.open(PAGES).expect("free again"));
    // As a mounted file system holds it.
    let other = File::options().read(true).write(true).open(&device.path).expect("anyone may read");
    drop(device.open(PAGES).expect("reading it is no exclusive use"));
    drop(other);
}
