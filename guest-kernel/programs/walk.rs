//! Walks over memory and checks every page: `walk SIZE seq|random|zipf read|write [ROUNDS]`.
//!
//! Fills SIZE of memory, then visits as many pages as there are, ROUNDS times (1 if not given), in the order named.
//! A visit checks the whole page against its number and version; a visit that writes then gives it its next version.
//! Every page is checked once more at the end. A wrong byte is named and ends the program with status 1.

use std::env;
use std::process::ExitCode;

use programs::{PAGE, Page, Random, fail, fill, holds, map_pages, parse_size};

#[derive(Clone, Copy)]
enum Order {
    Seq,
    Random,
    Zipf,
}

struct Walk {
    pages: &'static mut [Page],
    versions: Vec<u32>,
    order: Order,
    write: bool,
    random: Random,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((mut walk, rounds)) = parse(&arguments) else {
        fail("usage: walk SIZE seq|random|zipf read|write [ROUNDS], such as walk 32M zipf write 3");
    };
    match walk.run(rounds) {
        Ok(visits) => {
            println!("walked {} pages, {visits} visits, all right", walk.pages.len());
            ExitCode::SUCCESS
        }
        Err(page) => {
            println!("walk: wrong content in page {page}, version {}", walk.versions[page]);
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[&str]) -> Option<(Walk, usize)> {
    let (size, order, access, rounds) = match *arguments {
        [size, order, access] => (size, order, access, 1),
        [size, order, access, rounds] => (size, order, access, rounds.parse().ok()?),
        _ => return None,
    };
    let order = match order {
        "seq" => Order::Seq,
        "random" => Order::Random,
        "zipf" => Order::Zipf,
        _ => return None,
    };
    let write = match access {
        "read" => false,
        "write" => true,
        _ => return None,
    };
    let pages = parse_size(size)?.div_ceil(PAGE);
    let walk =
        Walk { pages: map_pages(pages), versions: vec![0; pages], order, write, random: Random::new(1) };
    Some((walk, rounds))
}

impl Walk {
    /// Returns the number of visits, or the first page that does not hold what it should.
    fn run(&mut self, rounds: usize) -> Result<usize, usize> {
        for (number, page) in self.pages.iter_mut().enumerate() {
            fill(page, number, 0);
        }
        for visit in 0..rounds * self.pages.len() {
            let page = self.choose(visit);
            self.check(page)?;
            if self.write {
                self.versions[page] += 1;
                fill(&mut self.pages[page], page, self.versions[page]);
            }
        }
        for page in 0..self.pages.len() {
            self.check(page)?;
        }
        Ok(rounds * self.pages.len())
    }

    fn check(&self, page: usize) -> Result<(), usize> {
        if holds(&self.pages[page], page, self.versions[page]) { Ok(()) } else { Err(page) }
    }

    fn choose(&mut self, visit: usize) -> usize {
        let pages = self.pages.len();
        match self.order {
            Order::Seq => visit % pages,
            Order::Random => self.random.next() as usize % pages,
            // Page n is visited about as often as 1/n (Zipf); the multiplication scatters the hot pages.
            Order::Zipf => {
                let rank = (pages as f64).powf(self.random.unit()) as usize;
                rank.wrapping_mul(0x9e37_79b1) % pages
            }
        }
    }
}
