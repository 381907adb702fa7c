//! Waiting for sets of descriptors: select and pselect6.

use super::poll::{ERR, HUP, IN, NVAL, OUT, none_yet, ready};
use super::{Arguments, Errno, Outcome, System};

/// Most descriptors in a set (FD_SETSIZE).
const MOST: u64 = 1024;
const WORDS: usize = MOST as usize / 64;

/// Sets of descriptors to be read, to be written, and with news out of turn, which nothing here has.
type Sets = [[u64; WORDS]; 3];

/// What makes a descriptor ready for each set.
const WANTED: [u16; 3] = [IN | HUP | ERR, OUT | ERR, 0];

fn wait(system: &mut System, count: u64, places: [u64; 3], timeout: Option<u64>) -> Outcome {
    if count > MOST {
        return Err(Errno::INVAL.into());
    }
    let words = count.div_ceil(64);
    let mut asked: Sets = [[0; WORDS]; 3];
    for (set, place) in asked.iter_mut().zip(places).filter(|(_, place)| *place != 0) {
        for n in 0..words {
            set[n as usize] = system.get(place.wrapping_add(8 * n))?;
        }
    }
    let (mut answer, mut found): (Sets, u64) = ([[0; WORDS]; 3], 0);
    for number in 0..count as u32 {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if asked.iter().all(|set| set[word] & bit == 0) {
            continue;
        }
        let state = ready(system, number);
        if state & NVAL != 0 {
            return Err(Errno::BADF.into());
        }
        for ((set, asked), wanted) in answer.iter_mut().zip(&asked).zip(WANTED) {
            if asked[word] & bit != 0 && state & wanted != 0 {
                set[word] |= bit;
                found += 1;
            }
        }
    }
    if found == 0 {
        // The sets stay as they are for the next try.
        none_yet(system, timeout)?;
    }
    for (set, place) in answer.iter().zip(places).filter(|(_, place)| *place != 0) {
        for n in 0..words {
            system.put(place.wrapping_add(8 * n), &set[n as usize])?;
        }
    }
    Ok(found)
}

pub fn select(system: &mut System, [count, read, write, other, timeout, _]: Arguments) -> Outcome {
    let timeout = if timeout == 0 { None } else { Some(super::time::read_timeval(system, timeout)?) };
    wait(system, count, [read, write, other], timeout)
}

pub fn pselect6(system: &mut System, [count, read, write, other, timeout, _]: Arguments) -> Outcome {
    let timeout = if timeout == 0 { None } else { Some(super::time::read_time(system, timeout)?) };
    wait(system, count, [read, write, other], timeout)
}
