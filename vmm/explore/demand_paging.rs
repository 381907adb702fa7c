//! What is loaded of a program before it says its first word.

use super::guest::{explore, file, noise, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::{Count, Nanos};

/// How many pages the program's file has.
const PAGES: usize = 2048;
const PATH: &str = "/bin/large";

/// One start of the program.
struct Start {
    how: &'static str,
    pages_read: u64,
    ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let starts = [start("lazily, by its faults", false)?, start("eagerly, all of it first", true)?];
    let row = |start: &Start| {
        vec![start.how.into(), (PAGES as u64).into(), start.pages_read.into(), Cell::Nanos(start.ns)]
    };
    Ok(Finding {
        experiment: "demand-paging",
        title: format!(
            "A program of {} that prints one word is started, from a disk that nobody has read.",
            Size::from_pages(PAGES as u32)
        ),
        columns: &["loaded", "pages_of_the_program", "pages_read", "first_output_ns"],
        rows: starts.iter().map(row).collect(),
        sentence: sentence(&starts),
    })
}

fn start(how: &'static str, eager: bool) -> Result<Start, ExploreError> {
    let (program, _) = file(PATH, &image(eager), Access::ReadOnly)?;
    let ran = run_guest(Bundled { files: vec![program], ..explore(&["first-output", PATH]) })?;
    let record = ran.first("started")?;
    Ok(Start { how, pages_read: record.number("pages_read")?, ns: record.number("ns")? })
}

fn sentence([lazy, eager]: &[Start; 2]) -> String {
    let (fewer, sooner) = (lazy.pages_read < eager.pages_read, lazy.ns < eager.ns);
    let first = format!(
        "Loaded by its faults, the program read {} of {PAGES} pages and spoke after {}; loaded as a whole \
         first, it read {} and spoke after {}",
        Count(lazy.pages_read),
        Nanos(lazy.ns),
        Count(eager.pages_read),
        Nanos(eager.ns)
    );
    let times = eager.ns as f64 / lazy.ns.max(1) as f64;
    match (fewer, sooner) {
        (true, true) => format!(
            "{first}: what is not used is not loaded, and the first word comes {times:.1} times sooner."
        ),
        (true, false) => format!("{first}: what is not used is not loaded, but here that saved no time."),
        _ => format!("{first}: here demand paging loaded no less."),
    }
}

/// An ELF file that is one segment as long as the file, and ends after it has printed a word; `eager`: after
/// it has had all of its pages loaded (madvise, MADV_POPULATE_READ).
fn image(eager: bool) -> Vec<u8> {
    const BASE: u32 = 0x40_0000;
    const HEADERS: u32 = 64 + 56;
    const WORD: &[u8] = b"hello\n";
    let len = (PAGES * 4096) as u32;
    let call = |number: u32, arguments: [u32; 3]| {
        // mov edi, mov esi, mov edx, mov eax, syscall
        let [first, second, third] = arguments.map(u32::to_le_bytes);
        let loads = [(0xbf, first), (0xbe, second), (0xba, third), (0xb8, number.to_le_bytes())];
        let loads = loads.into_iter().flat_map(|(opcode, value)| [&[opcode], value.as_slice()].concat());
        loads.chain([0x0f, 0x05]).collect::<Vec<u8>>()
    };
    let populate = if eager { call(28, [BASE, len, 22]) } else { Vec::new() };
    // The word stands behind the code, whose calls are all of one length.
    let word = BASE + HEADERS + (populate.len() + 2 * call(0, [0; 3]).len()) as u32;
    let code = [populate, call(1, [1, word, WORD.len() as u32]), call(231, [0; 3]), WORD.to_vec()].concat();

    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let long =
        |words: &[u32]| words.iter().flat_map(|&word| u64::from(word).to_le_bytes()).collect::<Vec<_>>();
    // The file's header: executable, x86-64, entry, one program header; then that: load, read and execute.
    image.extend(
        [half(&[2, 62, 1, 0]), long(&[BASE + HEADERS, 64, 0]), half(&[0, 0, 64, 56, 1, 0, 0, 0])].concat(),
    );
    image.extend([half(&[1, 0, 5, 0]), long(&[0, BASE, BASE, len, len, 4096])].concat());
    image.extend(code);
    let rest = noise(PAGES).split_off(image.len());
    image.extend(rest);
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::elf::check_program;

    fn said(lazy: (u64, u64), eager: (u64, u64)) -> String {
        let start = |(pages_read, ns)| Start { how: "", pages_read, ns };
        sentence(&[start(lazy), start(eager)])
    }

    #[test]
    fn the_sentence_follows_the_numbers() {
        assert!(said((16, 1000), (2048, 4000)).ends_with("the first word comes 4.0 times sooner."));
        assert!(said((16, 4000), (2048, 1000)).ends_with("but here that saved no time."));
        assert!(said((2048, 1000), (2048, 1000)).ends_with("here demand paging loaded no less."));
    }

    #[test]
    fn the_program_is_a_sound_elf_file_of_its_size() {
        for eager in [false, true] {
            let image = image(eager);
            assert_eq!(image.len(), PAGES * 4096);
            assert_eq!(check_program(image.as_slice()), Ok(None), "static");
        }
    }
}
