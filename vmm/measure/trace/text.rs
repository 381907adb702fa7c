//! The plain form: page numbers, one a line or with commas or blanks between them; `#` starts a comment.

use std::io::BufRead;

use super::{TraceError, TracePage};

/// How much of a wrong word is shown.
const SHOWN: usize = 20;

/// A stream of the pages of a text, in constant memory.
#[derive(Debug)]
pub struct TextReader<R> {
    from: R,
    line: u64,
    ended: bool,
}

/// What a byte means.
enum Kind {
    Word,
    Gap,
    Comment,
    NewLine,
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'\n' => Kind::NewLine,
        b'#' => Kind::Comment,
        b',' | b' ' | b'\t' | b'\r' => Kind::Gap,
        _ => Kind::Word,
    }
}

impl<R: BufRead> TextReader<R> {
    /// A reader from the first line on.
    pub const fn new(from: R) -> Self {
        Self { from, line: 1, ended: false }
    }

    fn peek(&mut self) -> Result<Option<u8>, TraceError> {
        Ok(self.from.fill_buf()?.first().copied())
    }

    /// The next page number; `None` at the end.
    fn page(&mut self) -> Result<Option<u64>, TraceError> {
        let mut in_comment = false;
        while let Some(byte) = self.peek()? {
            match kind(byte) {
                Kind::Word if !in_comment => return self.word().map(Some),
                Kind::Comment => in_comment = true,
                Kind::NewLine => {
                    in_comment = false;
                    self.line += 1;
                }
                Kind::Word | Kind::Gap => {}
            }
            self.from.consume(1);
        }
        Ok(None)
    }

    fn word(&mut self) -> Result<u64, TraceError> {
        let mut number = Some(0_u64);
        let mut shown = Vec::new();
        while let Some(byte) = self.peek()?.filter(|&byte| matches!(kind(byte), Kind::Word)) {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
            number = number.zip(digit).and_then(|(number, digit)| number.checked_mul(10)?.checked_add(digit));
            if shown.len() < SHOWN {
                shown.push(byte);
            } else if number.is_none() {
                // Wrong already: the rest, however long, says nothing more.
                break;
            }
            self.from.consume(1);
        }
        number.ok_or_else(|| TraceError::Word {
            line: self.line,
            word: String::from_utf8_lossy(&shown).into_owned(),
        })
    }
}

impl<R: BufRead> Iterator for TextReader<R> {
    type Item = Result<TracePage, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let page = self.page().transpose();
        self.ended = !matches!(page, Some(Ok(_)));
        Some(page?.map(|number| TracePage { space: 0, number }))
    }
}
