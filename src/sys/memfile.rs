//! Anonymous memory files, see memfd_create(2).

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;

/// A memory file of `size` zero bytes whose size is sealed, close-on-exec. Its content can be
/// rewritten; readers never see it shrink under them.
///
/// # Errors
/// The kernel's, such as EMFILE.
pub fn sealed(name: &str, size: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(size)?;
    let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}
