//! Which shared libraries a program needs and where the loader will find them: as ld.so(8) and
//! musl's loader look, in the tree of a `Root`. Libraries of libraries count too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files::Root;
use super::program::Pages;
use crate::go::elf::{Dynamic, Elf};
use crate::linux::ldcache;
use crate::policy::startable::{Found, Library, libc_of};

/// Libraries looked at altogether; a graphical program has a hundred.
const LIBRARIES_MAX: usize = 256;
/// Longest ld.so.cache that is read.
const CACHE_MAX: usize = 8 << 20;
/// Where glibc's loader looks by itself: what Debian, Fedora and upstream compile in.
const GLIBC: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Where musl's loader looks when /etc/ld-musl-ARCH.path is not there.
const MUSL: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];
/// What musl's loader takes for itself, by the beginning of the name (dynlink.c, load_library).
const MUSL_OWN: [&str; 8] = ["c.", "c.musl-", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];

/// The program that needs them.
pub(super) struct Needs<'a> {
    pub(super) root: &'a Root,
    pub(super) path: &'a Path,
    pub(super) elf: &'a Elf,
    pub(super) dynamic: Dynamic,
    /// Its ELF interpreter.
    pub(super) loader: &'a str,
}

/// Every library, in the order in which they are found to be needed.
pub(super) fn all(needs: Needs<'_>) -> Vec<Library> {
    let origin = needs.path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut loader = Loader::new(&needs, &origin);
    let mut found: Vec<Library> = Vec::new();
    let mut pending = vec![(needs.dynamic.clone(), origin, String::new())];
    while let Some((dynamic, origin, by)) = pending.pop() {
        for name in &dynamic.needed {
            let full = found.len() >= LIBRARIES_MAX;
            if full || found.iter().any(|library| library.name == *name) {
                continue;
            }
            let state = loader.find(name, &dynamic, &origin);
            if let Found::At(path) = &state {
                pending.extend(
                    loader
                        .read(Path::new(path))
                        .map(|(dynamic, origin)| (dynamic, origin, name.clone())),
                );
            }
            found.push(Library { name: name.clone(), state, by: by.clone() });
        }
    }
    found
}

struct Loader<'a> {
    root: &'a Root,
    elf: &'a Elf,
    musl: bool,
    /// DT_RPATH of the program counts for its libraries as well.
    rpath: Vec<PathBuf>,
    /// LD_LIBRARY_PATH.
    variable: Vec<PathBuf>,
    cache: Vec<u8>,
    usual: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    fn new(needs: &Needs<'a>, origin: &Path) -> Self {
        let root = needs.root;
        let musl = libc_of(needs.loader) == Some("musl");
        let variable = std::env::var("LD_LIBRARY_PATH").ok().filter(|_| root.is_live());
        let mut cache = Vec::new();
        if !musl {
            let _ = root.read(b"/etc/ld.so.cache", CACHE_MAX, &mut cache);
        }
        let rpath = needs.dynamic.rpath.as_ref().filter(|_| needs.dynamic.runpath.is_none());
        Self {
            root,
            elf: needs.elf,
            musl,
            rpath: rpath.map(|list| directories(list, origin)).unwrap_or_default(),
            variable: variable.map(|list| directories(&list, origin)).unwrap_or_default(),
            cache,
            usual: if musl { musl_path(root, needs.loader) } else { glibc_path(needs.elf) },
        }
    }

    fn find(&self, name: &str, of: &Dynamic, origin: &Path) -> Found {
        let at = |path: &Path| self.fits(path).then(|| Found::At(path.to_string_lossy().into()));
        if name.contains('/') {
            return at(Path::new(name)).unwrap_or(Found::Missing(None));
        }
        let own = name
            .strip_prefix("lib")
            .is_some_and(|rest| MUSL_OWN.iter().any(|prefix| rest.starts_with(prefix)));
        if self.musl && own {
            return Found::Loader;
        }
        let runpath = of.runpath.as_ref().map(|list| directories(list, origin));
        let own = of.rpath.as_ref().filter(|_| of.runpath.is_none());
        let own = own.map(|list| directories(list, origin)).unwrap_or_default();
        let rpath = own.iter().chain(self.rpath.iter().filter(|_| runpath.is_none()));
        let first = rpath.chain(&self.variable).chain(runpath.iter().flatten());
        let cached = ldcache::paths(&self.cache, name).map(PathBuf::from);
        let places = first.map(|directory| directory.join(name)).chain(cached);
        let mut places = places.chain(self.usual.iter().map(|directory| directory.join(name)));
        if let Some(found) = places.find_map(|path| at(&path)) {
            return found;
        }
        // A library that is there, where nobody looks, is a common mistake.
        let elsewhere = ["/usr/local/lib", "/usr/local/lib64", "/opt/lib"];
        let there = elsewhere.iter().map(|directory| Path::new(directory).join(name));
        Found::Missing(
            there
                .into_iter()
                .find(|path| self.fits(path))
                .map(|path| path.to_string_lossy().into()),
        )
    }

    /// Whether there is a library for the program's machine; the loader passes over others.
    fn fits(&self, path: &Path) -> bool {
        self.header(path)
            .is_some_and(|(elf, _)| elf.machine == self.elf.machine && elf.wide == self.elf.wide)
    }

    fn header(&self, path: &Path) -> Option<(Elf, Pages)> {
        if !self.root.metadata(path).ok()?.is_file() {
            return None;
        }
        let pages = Pages::new(self.root.open(path).ok()?);
        Some((Elf::read(&pages).ok()?, pages))
    }

    /// What a library itself needs, and where it lies.
    fn read(&mut self, path: &Path) -> Option<(Dynamic, PathBuf)> {
        let (elf, pages) = self.header(path)?;
        Some((elf.dynamic(&pages), path.parent()?.to_path_buf()))
    }
}

/// Directories of a list with colons; `$ORIGIN` is where the asking file lies, and an empty
/// element the working directory.
fn directories(list: &str, origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    list.split([':', ';'])
        .map(|one| one.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
        .map(|one| PathBuf::from(if one.is_empty() { "." } else { one.as_str() }))
        .collect()
}

fn glibc_path(elf: &Elf) -> Vec<PathBuf> {
    // Debian's multiarch directories come first there and do not exist elsewhere.
    let triplet = match elf.machine_name() {
        Some("amd64") => "x86_64-linux-gnu",
        Some("386") => "i386-linux-gnu",
        Some("arm64") => "aarch64-linux-gnu",
        Some("arm") => "arm-linux-gnueabihf",
        Some("ppc64le") => "powerpc64le-linux-gnu",
        Some("s390x") => "s390x-linux-gnu",
        Some("riscv64") => "riscv64-linux-gnu",
        _ => "",
    };
    let multiarch = ["/lib", "/usr/lib"].map(|directory| Path::new(directory).join(triplet));
    let multiarch = multiarch.into_iter().filter(|_| !triplet.is_empty());
    multiarch.chain(GLIBC.map(PathBuf::from)).collect()
}

/// musl's path file is called after the loader: /etc/ld-musl-x86_64.path.
fn musl_path(root: &Root, loader: &str) -> Vec<PathBuf> {
    let name = loader.rsplit('/').next().unwrap_or(loader);
    let name = name.split(".so").next().unwrap_or(name);
    let mut buffer = Vec::new();
    match root.read(format!("/etc/{name}.path").as_bytes(), 64 << 10, &mut buffer) {
        Ok(text) => text
            .split(|b| matches!(b, b'\n' | b':'))
            .filter(|one| !one.is_empty())
            .map(|one| PathBuf::from(OsStr::from_bytes(one)))
            .collect(),
        Err(_) => MUSL.map(PathBuf::from).to_vec(),
    }
}
