//! Where a goroutine is, as a person looks for it: the program's own function, file and line.

use crate::policy::evidence::Frame;

/// Directories of the standard library: frames in them say how, not where.
const STANDARD: [&str; 40] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "sync",
    "syscall",
    "time",
    "vendor",
];

/// The first frame of the program's own: `main.fetch (/src/fetch.go:12)`.
pub(in crate::policy) fn place(frames: &[Frame]) -> Option<String> {
    let own = frames.iter().find(|frame| {
        let root = frame.function.split(['/', '.']).next().unwrap_or_default();
        // `panic` is how the runtime prints its own function.
        root != frame.function && !STANDARD.contains(&root)
    });
    own.or(frames.first()).map(place_of)
}

/// One frame as a place.
pub(super) fn place_of(frame: &Frame) -> String {
    if frame.file.is_empty() {
        return frame.function.clone();
    }
    format!("{} ({}:{})", frame.function, frame.file, frame.line)
}

/// A place for a sentence, where the whole path would hide the rest: `pool.(*Pool).get
/// (pool.go:23)`. The whole is in `verdict.where`.
pub(in crate::policy) fn short(place: &str) -> String {
    let (function, file) = place.split_once(" (").unwrap_or((place, ""));
    // What stands in brackets is a type argument with a path of its own.
    let named = function.find('[').unwrap_or(function.len());
    let cut = function.get(..named).and_then(|name| name.rfind('/')).map_or(0, |slash| slash + 1);
    let function = function.get(cut..).unwrap_or(function);
    match file.rsplit('/').next() {
        Some(file) if !file.is_empty() => format!("{function} ({file}"),
        Some(_) | None => function.to_owned(),
    }
}

/// ` at main.fetch (fetch.go:12)`, or nothing.
pub(super) fn at(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" at {}", short(place)))
}

/// The same with ` in `, for what runs there.
pub(super) fn within(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" in {}", short(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_the_last_names_of_a_place() {
        for (place, expected) in [
            (
                "example.com/shop/db.(*pool).get (/src/shop/db/db.go:23)",
                "db.(*pool).get (db.go:23)",
            ),
            ("main.main (main.go:7)", "main.main (main.go:7)"),
            ("app/x.Map[go.shape.int,a/b.T] (/x.go:1)", "x.Map[go.shape.int,a/b.T] (x.go:1)"),
            ("runtime.main", "runtime.main"),
        ] {
            assert_eq!(short(place), expected);
        }
    }
}
