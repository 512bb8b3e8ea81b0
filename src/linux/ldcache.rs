//! `/etc/ld.so.cache`, by which glibc's loader finds libraries outside its own directories
//! (ldconfig(8); layout: dl-cache.h of glibc, `struct cache_file_new`).

/// What begins the part with the entries; an older part may stand before it.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes from there to the first entry.
const HEADER: usize = 48;
/// Bytes of an entry: flags, name, path, OS version, hardware capabilities.
const ENTRY: usize = 24;
/// Entries read at most; a desktop has 5,000.
const ENTRIES: usize = 100_000;

/// The paths under which the cache knows a library, best first.
pub fn paths<'c>(cache: &'c [u8], name: &str) -> impl Iterator<Item = &'c str> {
    let start = memchr::memmem::find(cache, MAGIC).unwrap_or(cache.len());
    let cache = cache.get(start..).unwrap_or_default();
    let count = word(cache, 20).unwrap_or(0).min(ENTRIES);
    (0..count).filter_map(move |number| {
        let at = HEADER.checked_add(number.checked_mul(ENTRY)?)?;
        let known = text(cache, word(cache, at.checked_add(4)?)?)?;
        (known == name).then(|| text(cache, word(cache, at.checked_add(8)?)?)).flatten()
    })
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = *bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_ne_bytes(raw)).ok()
}

/// A string that ends with a NUL; paths are no longer than 4,096 bytes.
fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = memchr::memchr(0, rest.get(..rest.len().min(4096))?)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of one library, after an older part.
    fn sample() -> Vec<u8> {
        let mut cache = b"ld.so-1.7.0\0old".to_vec();
        let start = cache.len();
        cache.extend_from_slice(MAGIC);
        cache.extend_from_slice(&1u32.to_ne_bytes());
        cache.resize(start + HEADER, 0);
        let name = HEADER + ENTRY;
        for value in [3, name, name + 10, 0, 0, 0] {
            cache.extend_from_slice(&u32::try_from(value).unwrap().to_ne_bytes());
        }
        cache.extend_from_slice(b"libx.so.1\0/opt/libx.so.1\0");
        cache
    }

    #[test]
    fn a_library_is_found_by_its_whole_name() {
        let cache = sample();
        assert_eq!(paths(&cache, "libx.so.1").collect::<Vec<_>>(), ["/opt/libx.so.1"]);
        assert_eq!(paths(&cache, "libx").count(), 0);
    }

    #[test]
    fn damage_is_no_library() {
        let good = sample();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = paths(&bad, "libx.so.1").count();
            let _ = paths(&good[..at], "libx.so.1").count();
        }
    }

    #[test]
    fn the_cache_of_this_machine_names_files_that_exist() {
        let Ok(cache) = std::fs::read("/etc/ld.so.cache") else { return };
        for path in paths(&cache, "libc.so.6") {
            assert!(std::path::Path::new(path).exists(), "{path}");
        }
    }
}
