//! Files below a directory: `/` when live, a fixture tree in tests, an unpacked image for
//! `inspect --root`. Reads are bounded and go into a buffer of the caller, so that reading every
//! limit at start-up costs system calls and little else.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::sys::limits::AT_ONCE;

/// A directory that is taken for `/`.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Nothing when the real root is meant.
    base: Option<PathBuf>,
}

/// The first read of a file of unknown length.
const FIRST_READ: usize = 4096;
/// Longest short file: two numbers of 64 bits fit four times.
const SHORT: usize = 256;

/// Symbolic links followed in one path; the kernel's own limit (path_resolution(7)).
const LINKS_MAX: usize = 40;

impl Root {
    /// The real root directory.
    #[must_use]
    pub fn live() -> Self {
        Self::default()
    }

    /// A directory taken for `/`.
    #[must_use]
    pub fn at(base: &Path) -> Self {
        let live = base == Path::new("/");
        Self { base: (!live).then(|| base.to_path_buf()) }
    }

    /// Whether this is the real root.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.base.is_none()
    }

    /// Where a path of the tree lies in the real file system, symbolic links not followed.
    #[must_use]
    pub fn locate<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        match &self.base {
            None => Cow::Borrowed(path),
            Some(base) => Cow::Owned(base.join(path.strip_prefix("/").unwrap_or(path))),
        }
    }

    /// Like `locate`, but symbolic links are followed inside the tree: an absolute link in an
    /// unpacked image means a place in the image, and `..` never leaves it.
    ///
    /// # Errors
    /// Too many links, or a link that cannot be read.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let Some(base) = &self.base else { return Ok(path.to_path_buf()) };
        let mut pending: Vec<PathBuf> = vec![path.to_path_buf()];
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            let mut components = part.components();
            let Some(first) = components.next() else { continue };
            let rest = components.as_path();
            if !rest.as_os_str().is_empty() {
                pending.push(rest.to_path_buf());
            }
            match first {
                Component::RootDir | Component::Prefix(_) => inside = PathBuf::new(),
                Component::CurDir => {}
                Component::ParentDir => {
                    inside.pop();
                }
                Component::Normal(name) => {
                    inside.push(name);
                    let Ok(target) = base.join(&inside).read_link() else { continue };
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(io::Error::other("too many levels of symbolic links"));
                    }
                    inside.pop();
                    pending.push(target);
                }
            }
        }
        Ok(base.join(inside))
    }

    /// Opens a file for reading, symbolic links followed inside the tree.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        File::open(self.resolve(path)?)
    }

    /// Facts about a file, symbolic links followed inside the tree.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.resolve(path)?.metadata()
    }

    /// Opens a kernel file. A captured tree can hold anything in its place: a FIFO is not waited
    /// for, and a link does not lead out.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open_kernel_file(&self, path: &[u8]) -> io::Result<File> {
        let path = Path::new(OsStr::from_bytes(path));
        let mut options = File::options();
        options.read(true);
        if self.is_live() {
            return options.open(path);
        }
        options.custom_flags(AT_ONCE).open(self.resolve(path)?)
    }

    /// Reads a kernel file: at most `limit` bytes, into a buffer that is reused.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`.
    pub fn read<'b>(
        &self,
        path: &[u8],
        limit: usize,
        buffer: &'b mut Vec<u8>,
    ) -> io::Result<&'b [u8]> {
        buffer.clear();
        let mut file = self.open_kernel_file(path)?;
        // A first read of 4 KiB holds every limit file; only mountinfo and status grow beyond.
        let mut filled = 0;
        loop {
            let room = if filled == 0 { FIRST_READ.min(limit) } else { filled };
            buffer.resize(filled.saturating_add(room).min(limit), 0);
            let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) else {
                break;
            };
            match file.read(free) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    /// Reads a file of one short line, such as a limit, by one call.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`.
    pub fn read_short<'b>(&self, path: &[u8], buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
        buffer.clear();
        let mut file = self.open_kernel_file(path)?;
        buffer.resize(SHORT, 0);
        let count = loop {
            match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Whether there is a directory at this path of the tree.
    #[must_use]
    pub fn is_dir(&self, path: &[u8]) -> bool {
        self.metadata(Path::new(OsStr::from_bytes(path))).is_ok_and(|data| data.is_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("goinit-files-{}-{name}", std::process::id()));
        std::fs::create_dir_all(dir.join("usr/lib")).unwrap();
        dir
    }

    #[test]
    fn absolute_links_stay_inside_the_tree() {
        let dir = tree("links");
        std::fs::write(dir.join("usr/lib/x"), "inside").unwrap();
        symlink("/usr/lib", dir.join("lib")).unwrap();
        symlink("../../../../usr/lib/x", dir.join("usr/up")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let root = Root::at(&dir);
        assert_eq!(root.resolve(Path::new("/lib/x")).unwrap(), dir.join("usr/lib/x"));
        assert_eq!(root.resolve(Path::new("/usr/up")).unwrap(), dir.join("usr/lib/x"));
        assert!(root.resolve(Path::new("/loop")).is_err());
        symlink("/etc/hostname", dir.join("out")).unwrap();
        assert!(root.read(b"/out", 10, &mut Vec::new()).is_err(), "the tree has no such file");
        assert!(root.is_dir(b"/lib") && !root.is_dir(b"/out"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_read_is_cut_at_its_limit() {
        let dir = tree("limit");
        std::fs::write(dir.join("big"), vec![b'x'; 10_000]).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(Root::at(&dir).read(b"/big", 5000, &mut buffer).unwrap().len(), 5000);
        assert_eq!(Root::at(&dir).read(b"/big", 50_000, &mut buffer).unwrap().len(), 10_000);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
