//! Lists of descriptors to be waited for together (epoll(7)), and counters to wake by (eventfd(2)).

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use abi::addr::PAGE_SIZE;

/// Most descriptors on a list: as many as fit a page.
pub const MOST: usize = PAGE_SIZE / size_of::<Watched>();

/// A descriptor on a list.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Its number.
    pub number: u32,
    /// What is waited for, and how.
    pub events: u32,
    /// What the program is told.
    pub data: u64,
}

/// A list.
#[derive(Clone, Default, Debug)]
pub struct Epoll(pub Rc<RefCell<Vec<Watched>>>);

/// A counter that is ready to be read when it is not 0.
#[derive(Clone, Debug)]
pub struct Counter {
    /// Its value.
    pub value: Rc<Cell<u64>>,
    /// A read takes one, not all (EFD_SEMAPHORE).
    pub by_one: bool,
}
