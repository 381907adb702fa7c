//! `isolation`: two processes use the same address; then one of them makes an access that it may not.

use programs::os::{self, Child};
use programs::{Page, map_pages};

use super::memory::die;
use super::proc::PageMap;
use super::record::record;

/// A process, and the pipes to it.
struct Worker {
    child: Child,
    go: i32,
    from: i32,
}

pub fn run() {
    let page = &mut map_pages(1)[0];
    page[0] = 1;
    let [first, second] = [(11, true), (22, false)].map(|(value, is_wild)| start(page, value, is_wild));
    // Each has written its value, and then looks at what is there.
    let places = [&first, &second].map(|worker| answer(worker.from));
    for (name, worker, place, wrote) in [("first", first, places[0], 11), ("second", second, places[1], 22)] {
        let _ = os::write(worker.go, &[0; 8]);
        let found = answer(worker.from);
        let ended = worker.child.wait();
        record!(
            "process",
            name = name,
            address = address(page),
            frame = place,
            wrote = wrote,
            found = found,
            ended = ended
        );
    }
    let frame = frame(page);
    record!(
        "process",
        name = "parent",
        address = address(page),
        frame = frame,
        wrote = 1,
        found = page[0],
        ended = "it goes on"
    );
}

fn start(page: &mut Page, value: u64, is_wild: bool) -> Worker {
    let ((told, go), (from, tell)) = (os::pipe(), os::pipe());
    let child = os::child(|| {
        page[0] = value;
        let _ = os::write(tell, &frame(page).to_le_bytes());
        let _ = os::read(told, &mut [0; 8]);
        let _ = os::write(tell, &page[0].to_le_bytes());
        if is_wild {
            die();
        }
        0
    });
    Worker { child, go, from }
}

fn answer(from: i32) -> u64 {
    let mut word = [0; 8];
    let _ = os::read(from, &mut word);
    u64::from_le_bytes(word)
}

fn address(page: &Page) -> String {
    format!("{:#x}", page.as_ptr().addr())
}

fn frame(page: &Page) -> u64 {
    PageMap::open().at(page.as_ptr().addr()).frame().unwrap_or(0)
}
