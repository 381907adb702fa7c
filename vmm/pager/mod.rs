//! The host pager.

use std::sync::Arc;

use paging::policy::PolicyKind;
use thiserror::Error;

use crate::memory::{GuestRam, Size};
use crate::store::Store;

/// Stub.
#[derive(Debug, Error)]
pub enum PagerError {}
/// Stub.
#[derive(Clone, Debug, serde::Serialize)]
pub struct HostStats {}
/// Stub.
pub struct PagerConfig {
    /// Stub.
    pub budget: Size,
    /// Stub.
    pub policy: PolicyKind,
    /// Stub.
    pub store: Arc<Store>,
}
/// Stub.
#[derive(Debug)]
pub struct Pager {}
impl Pager {
    /// Stub.
    ///
    /// # Errors
    /// None.
    pub fn start(
        _: &GuestRam,
        _: PagerConfig,
        _: impl Fn(PagerError) + Send + 'static,
    ) -> Result<Self, PagerError> {
        Ok(Self {})
    }
    /// Stub.
    pub fn stats(&self) -> HostStats {
        HostStats {}
    }
}
