//! Where a store can be.

use std::path::Path;

use super::*;

#[test]
fn a_place_that_cannot_be_used_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = |path: &Path, capacity| {
        Store::open(&StoreSpec::At(path.to_owned()), capacity).map(|_| ()).expect_err("an unusable place")
    };
    let missing = directory.path().join("missing/store");
    assert!(matches!(open(&missing, 1), StoreError::NoDirectory(path) if path == missing));
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "data").expect("a writable directory");
    assert!(matches!(open(&precious, 1), StoreError::Exists(path) if path == precious));
    assert_eq!(std::fs::read(&precious).expect("still there"), b"data");
    let error = open(directory.path(), u32::MAX);
    assert!(matches!(error, StoreError::NoRoom { .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn a_store_has_no_name_from_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for path in [directory.path().to_owned(), directory.path().join("store")] {
        let store = Store::open(&StoreSpec::At(path), 4).expect("a usable place");
        store.put(&page(100)).expect("room");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
    }
}
