//! Names: which absolute, normal path leads to what.
//!
//! The tree is one ordered map of whole paths, a directory being a name like any other. There are no symbolic links, so a path
//! needs no walk. Files without a disk count their names here and end with the last one, once nobody has them open or mapped.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use super::FileId;
use super::open::Object;
use super::path::{leads_to, parent};

/// All names.
pub struct Tree(BTreeMap<Vec<u8>, Object>);

impl Tree {
    /// The root directory, the devices that every program expects, places for new files, and these files. Where they come in the
    /// order of their paths, each is looked at once.
    #[must_use]
    pub fn new(files: impl Iterator<Item = (Vec<u8>, Object)>) -> Self {
        let mut names: Vec<(Vec<u8>, Object)> = Vec::with_capacity(2 * files.size_hint().0);
        for (path, object) in files {
            if names.last().is_none_or(|(last, _)| parent(last) != parent(&path)) {
                let mut directory = parent(&path);
                while directory != b"/" {
                    names.push((directory.to_vec(), Object::Directory(directory.to_vec())));
                    directory = parent(directory);
                }
            }
            names.push((path, object));
        }
        let mut tree = Self(BTreeMap::from_iter(names));
        for directory in [&b"/"[..], b"/dev/shm", b"/proc", b"/tmp", b"/var/tmp"] {
            tree.add_directory(directory);
        }
        for (name, object) in [
            (&b"/dev/null"[..], Object::Null),
            (b"/dev/zero", Object::Zero),
            (b"/dev/urandom", Object::Random),
            (b"/dev/random", Object::Random),
            (b"/dev/stdin", Object::Input),
            (b"/dev/stdout", Object::Output(false)),
            (b"/dev/stderr", Object::Output(true)),
        ] {
            tree.add(name.to_vec(), object);
        }
        tree
    }

    /// What a path leads to.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Object> {
        self.0.get(path)
    }

    /// Gives a path to something, and the directories on the way to it.
    pub fn add(&mut self, path: Vec<u8>, object: Object) {
        self.add_directory(parent(&path));
        self.0.insert(path, object);
    }

    /// A directory, with those on the way to it.
    pub fn add_directory(&mut self, path: &[u8]) {
        let mut path = path;
        while !self.0.contains_key(path) {
            self.0.insert(path.to_vec(), Object::Directory(path.to_vec()));
            path = parent(path);
        }
    }

    /// Takes a name away.
    pub fn remove(&mut self, path: &[u8]) -> Option<Object> {
        self.0.remove(path)
    }

    /// Gives what `old` leads to, and all below it, a name at `new`.
    pub fn rename(&mut self, old: &[u8], new: &[u8]) {
        self.rename_one(old, old, new);
        // One after the other: a list of all would be long.
        while let Some(path) = self.first_below(old) {
            self.rename_one(&path, old, new);
        }
    }

    fn first_below(&self, directory: &[u8]) -> Option<Vec<u8>> {
        self.below(directory).next().map(|(path, _)| path.clone())
    }

    fn rename_one(&mut self, path: &[u8], old: &[u8], new: &[u8]) {
        let Some(object) = self.0.remove(path) else { return };
        let path = [new, &path[old.len()..]].concat();
        let object = if let Object::Directory(_) = object { Object::Directory(path.clone()) } else { object };
        self.0.insert(path, object);
    }

    /// Everything below a directory.
    fn below(&self, directory: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Object)> {
        let after = (Bound::Excluded(directory), Bound::Unbounded);
        // Other names may lie between: `/a.b` comes after `/a` and before `/a/b`.
        self.0
            .range::<[u8], _>(after)
            .take_while(move |(path, _)| path.starts_with(directory))
            .filter(move |(path, _)| leads_to(directory, path))
    }

    /// What is in a directory: names and what they lead to, in their order.
    pub fn children(&self, directory: &[u8]) -> impl Iterator<Item = (&[u8], &Object)> {
        let start = if directory == b"/" { 1 } else { directory.len() + 1 };
        self.below(directory)
            .map(move |(path, object)| (&path[start..], object))
            .filter(|(name, _)| !name.contains(&b'/'))
    }

    /// Whether nothing is in a directory.
    #[must_use]
    pub fn is_empty(&self, directory: &[u8]) -> bool {
        self.below(directory).next().is_none()
    }

    /// Some path of a file.
    #[must_use]
    pub fn path_of(&self, file: FileId) -> Option<&[u8]> {
        let is = |object: &Object| matches!(object, Object::File(id) if *id == file);
        self.0.iter().find(|(_, object)| is(object)).map(|(path, _)| path.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tree: &Tree, directory: &str) -> Vec<String> {
        tree.children(directory.as_bytes())
            .map(|(name, _)| String::from_utf8(name.to_vec()).expect("text"))
            .collect()
    }

    #[test]
    fn a_directory_lists_what_is_in_it_and_nothing_else() {
        let mut tree = Tree::new([].into_iter());
        for path in ["/a/b/c", "/a.b", "/a/d", "/ab/x", "/a/b.c/e"] {
            tree.add(path.into(), Object::Null);
        }
        assert_eq!(names(&tree, "/a"), ["b", "b.c", "d"]);
        assert_eq!(names(&tree, "/a/b"), ["c"]);
        assert_eq!(names(&tree, "/"), ["a", "a.b", "ab", "dev", "proc", "tmp", "var"]);
        assert!(tree.is_empty(b"/tmp") && !tree.is_empty(b"/a/b"));
    }

    #[test]
    fn the_files_at_the_start_have_their_directories() {
        let files = ["/a/b/c/d", "/a/b/c/e", "/a/x", "/usr/z"];
        let tree = Tree::new(files.into_iter().map(|path| (path.into(), Object::Null)));
        assert_eq!(names(&tree, "/"), ["a", "dev", "proc", "tmp", "usr", "var"]);
        assert_eq!(
            (names(&tree, "/a"), names(&tree, "/a/b/c")),
            (vec!["b".into(), "x".into()], vec!["d".into(), "e".into()])
        );
        assert!(matches!(tree.get(b"/a/b"), Some(Object::Directory(_))));
        assert!(matches!(tree.get(b"/usr/z"), Some(Object::Null)));
    }

    #[test]
    fn a_directory_moves_with_all_that_is_below() {
        let mut tree = Tree::new([].into_iter());
        for path in ["/a/b/c", "/a/d", "/ab"] {
            tree.add(path.into(), Object::Zero);
        }
        tree.rename(b"/a", b"/tmp/z");
        assert_eq!(names(&tree, "/tmp/z"), ["b", "d"]);
        assert_eq!(names(&tree, "/tmp/z/b"), ["c"]);
        assert!(tree.get(b"/a").is_none() && tree.get(b"/a/d").is_none() && tree.get(b"/ab").is_some());
        assert!(matches!(tree.get(b"/tmp/z/b"), Some(Object::Directory(path)) if path == b"/tmp/z/b"));
    }
}
