//! Files that a command writes besides its standard output.

use std::fs::File;
use std::path::Path;

/// Makes the file that `option` names. Called before the work is done: a report that cannot be written must not be
/// found out after an hour.
pub fn create<'a>(option: &str, path: &'a Path) -> Result<(&'a Path, File), String> {
    let file = File::create(path).map_err(|error| {
        format!("cannot write {}: {error}; name another file with {option}", path.display())
    })?;
    Ok((path, file))
}
