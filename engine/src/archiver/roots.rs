//! From the paths that were asked for to the top of the snapshot's tree.
//!
//! A snapshot's tree begins at `/`, as restic's do: `/home/ann/notes` becomes the folders `home` and `ann`, which hold
//! only what leads to a source, and below them `notes` with all that is in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// A place at or above a source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A source; the number is its position in [`Roots::sources`].
    Source(usize),
    /// A folder above sources, with what leads to them, by name in bytes.
    Above(BTreeMap<OsString, Self>),
}

/// The sources of a backup, as a tree of names.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The top, `/`.
    pub(crate) top: Root,
    /// The sources, without those that lie within another one.
    pub(crate) sources: Vec<PathBuf>,
}

impl Roots {
    /// Sorts the paths into a tree.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a path that is not absolute, and if there is none.
    pub(crate) fn new(paths: &[PathBuf]) -> Result<Self> {
        let mut roots = Self { top: Root::Above(BTreeMap::new()), sources: Vec::new() };
        let mut paths = paths.iter().map(|path| clean(path)).collect::<Result<Vec<_>>>()?;
        if paths.is_empty() {
            return Err(Error::misuse("there is nothing to back up: name at least one source"));
        }
        // In this order a folder comes before what is in it.
        paths.sort();
        for path in paths {
            roots.add(path);
        }
        Ok(roots)
    }

    fn add(&mut self, path: PathBuf) {
        let mut place = &mut self.top;
        for component in path.components().filter(|component| *component != Component::RootDir) {
            match place {
                // The path lies within another source.
                Root::Source(_) => return,
                Root::Above(names) => {
                    let name = component.as_os_str().to_owned();
                    place = names.entry(name).or_insert_with(|| Root::Above(BTreeMap::new()));
                }
            }
        }
        if let Root::Above(_) = place {
            *place = Root::Source(self.sources.len());
            self.sources.push(path);
        }
    }
}

/// Takes `.` and `..` out of an absolute path, as a shell's `cd` would.
fn clean(path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
        return Err(Error::misuse(format!("the source {} is not an absolute path", path.display())));
    }
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(paths: &[&str]) -> Roots {
        Roots::new(&paths.iter().map(PathBuf::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_source_within_another_is_part_of_it() {
        let roots = roots(&["/a/b/c", "/a/b", "/a/b", "/a/bb/../x/."]);
        assert_eq!(roots.sources, [Path::new("/a/b"), Path::new("/a/x")]);
        let Root::Above(top) = &roots.top else { panic!("the top is no source") };
        let Root::Above(a) = &top[Path::new("a").as_os_str()] else { panic!("a is no source") };
        assert_eq!(a.keys().collect::<Vec<_>>(), ["b", "x"]);
    }

    #[test]
    fn the_whole_machine_is_one_source() {
        let roots = roots(&["/", "/etc"]);
        assert_eq!(roots.top, Root::Source(0));
    }

    #[test]
    fn a_relative_path_and_no_path_are_refused() {
        assert!(Roots::new(&[PathBuf::from("a")]).is_err());
        assert!(Roots::new(&[]).is_err());
    }
}
