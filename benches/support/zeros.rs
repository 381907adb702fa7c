//! The bare round trip of userfaultfd: a thread that answers with zeros, and does nothing else.

use abi::addr::Hva;
use bifold::pager::uffd::{Message, Uffd};
use bifold::store::PageBytes;

/// Answers so many faults. Between them it reads on with open eyes, or sleeps.
pub fn answer(uffd: &Uffd, faults: u64, sleeps: bool) {
    let zeros = Box::new(PageBytes::zeroed());
    let from = Hva(zeros.0.as_ptr() as u64);
    let mut messages = [Message::default(); 16];
    let mut answered = 0;
    while answered < faults {
        if sleeps {
            uffd.wait(None).expect("faults");
        }
        for fault in uffd.read(&mut messages).expect("faults") {
            uffd.copy(fault.page, from).expect("a missing page");
            answered += 1;
        }
    }
}
