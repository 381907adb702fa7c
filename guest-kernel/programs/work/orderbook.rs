//! An exchange's order book: orders in one array, each in the queue of its price level.
//!
//! An event takes an order out of its queue, changes its quantity, and puts it at the end of another: a few
//! lines of memory at places that nothing predicts, which is what such programs do all day.

use programs::{Random, mix};

use super::{Done, timed};

const LEVELS: usize = 1024;

/// An order; `next` and `previous` are its neighbours in the ring of its level.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Order {
    next: u32,
    previous: u32,
    level: u32,
    quantity: u32,
}

struct Book {
    /// The orders, and behind them one for each level that its ring starts and ends with.
    orders: Vec<Order>,
    count: usize,
    /// What is to be had at each level.
    volumes: Vec<u64>,
}

pub fn run(bytes: usize) -> Done {
    let count = (bytes / size_of::<Order>()).saturating_sub(LEVELS).max(1);
    let mut book = Book::new(count);
    let mut random = Random::new(1);
    for order in 0..count {
        book.append(order, random.next());
    }
    timed(count, || {
        for _ in 0..count {
            let event = random.next();
            let order = (event >> 32) as usize % book.count;
            book.take_out(order);
            book.append(order, event);
        }
        book.volumes.iter().fold(0, |answer, volume| mix(answer ^ volume))
    })
}

impl Book {
    fn new(count: usize) -> Self {
        let mut orders = vec![Order::default(); count + LEVELS];
        for (ring, order) in orders.iter_mut().enumerate().skip(count) {
            (order.next, order.previous) = (ring as u32, ring as u32);
        }
        Self { orders, count, volumes: vec![0; LEVELS] }
    }

    fn take_out(&mut self, order: usize) {
        let Order { next, previous, level, quantity } = self.orders[order];
        self.orders[previous as usize].next = next;
        self.orders[next as usize].previous = previous;
        self.volumes[level as usize] -= u64::from(quantity);
    }

    /// Puts an order at the end of a queue; `event` says which, and how much it is about.
    fn append(&mut self, order: usize, event: u64) {
        let (level, quantity) = (event as usize % LEVELS, (event >> 20) as u32 % 1000);
        let ring = self.count + level;
        let last = self.orders[ring].previous;
        self.orders[order] = Order { next: ring as u32, previous: last, level: level as u32, quantity };
        self.orders[last as usize].next = order as u32;
        self.orders[ring].previous = order as u32;
        self.volumes[level] += u64::from(quantity);
    }
}
