//! Files that the job writes in the lab: made on this machine as they come back.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::LabError;

/// The files that may come back. The lab names them by number, so that it reaches no others.
#[derive(Debug)]
pub struct Outputs {
    files: Vec<(PathBuf, Option<File>)>,
}

impl Outputs {
    /// None of them is touched before it comes.
    pub fn new(paths: impl Iterator<Item = PathBuf>) -> Self {
        Self { files: paths.map(|path| (path, None)).collect() }
    }

    /// Adds bytes to a file; the first make it, in place of what was there.
    ///
    /// # Errors
    /// It cannot be written, or there is no such number.
    pub fn add(&mut self, number: u32, bytes: &[u8]) -> Result<(), LabError> {
        let Some((path, open)) = self.files.get_mut(number as usize) else {
            return Err(LabError::Failure(format!("it sends a file that nobody has named ({number})")));
        };
        let file = match open {
            Some(file) => Ok(file),
            None => File::create(&path).map(|file| open.insert(file)),
        };
        file.and_then(|file| file.write_all(bytes)).map_err(LabError::file("write", path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_that_were_named_are_made_and_in_the_place_of_old_ones() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [old, new, missing] = ["old", "new", "none/new"].map(|name| folder.path().join(name));
        fs::write(&old, "longer than what comes").expect("a file");
        let mut outputs = Outputs::new([old.clone(), new.clone(), missing].into_iter());
        for (number, bytes) in [(0, "a"), (1, ""), (0, "b")] {
            outputs.add(number, bytes.as_bytes()).expect("it can be written");
        }
        assert_eq!(fs::read(old).expect("a file"), b"ab");
        assert_eq!(fs::read(new).expect("a file"), b"");
        let refused = outputs.add(2, b"x").map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("none/new")), "{refused:?}");
        assert!(outputs.add(3, b"x").is_err());
    }
}
