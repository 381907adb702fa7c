//! Paths, as bytes: absolute, without `.`, `..` and double slashes. There are no symbolic links.

use alloc::vec::Vec;

/// What `path` means in `directory`, which is absolute and normal.
#[must_use]
pub fn resolve(directory: &[u8], path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let start: &[u8] = if path.starts_with(b"/") { b"" } else { directory };
    for part in start.split(|&byte| byte == b'/').chain(path.split(|&byte| byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let mut normal = Vec::new();
    for part in parts {
        normal.push(b'/');
        normal.extend_from_slice(part);
    }
    if normal.is_empty() {
        normal.push(b'/');
    }
    normal
}

/// The directory that a normal path is in; of the root, itself.
#[must_use]
pub fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) | None => b"/",
        Some(end) => &path[..end],
    }
}

/// Whether `path` names a directory on the way to `file`; both are normal.
#[must_use]
pub fn leads_to(path: &[u8], file: &[u8]) -> bool {
    path == b"/" && file != b"/" || file.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_resolved_as_the_man_page_says() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"a", b"/home/x/a"),
            (b"/a//b/", b"/a/b"),
            (b"../y", b"/home/y"),
            (b"./.", b"/home/x"),
            (b"../../../..", b"/"),
            (b"/", b"/"),
            (b"a/../b", b"/home/x/b"),
            (b"...", b"/home/x/..."),
        ];
        for (path, normal) in cases {
            assert_eq!(resolve(b"/home/x", path), normal);
        }
    }

    #[test]
    fn everything_is_in_a_directory() {
        let cases: [(&[u8], &[u8]); 4] =
            [(b"/", b"/"), (b"/a", b"/"), (b"/a/b", b"/a"), (b"/a/b/c", b"/a/b")];
        for (path, directory) in cases {
            assert_eq!(parent(path), directory);
        }
    }

    #[test]
    fn only_whole_names_lead_to_a_file() {
        assert!(leads_to(b"/a", b"/a/b") && leads_to(b"/", b"/a"));
        assert!(!leads_to(b"/a", b"/ab") && !leads_to(b"/a/b", b"/a/b"));
    }
}
