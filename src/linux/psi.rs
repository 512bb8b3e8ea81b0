//! Pressure stall information: `cpu.pressure` and its siblings (Documentation/accounting/psi.rst).

use procfs::parse_pressure_record;

/// One resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Line,
    /// All tasks waited; kernels before 5.13 have none for the CPU.
    pub full: Option<Line>,
}

/// One line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Percent of the last 10 s.
    pub avg10: f64,
    /// Microseconds in all.
    pub total_us: u64,
}

impl Pressure {
    /// Reads a pressure file. procfs's parser of a line is used, not that of the file, which
    /// insists on `full`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        // The prefix with its blank is looked for here: procfs slices behind it unchecked.
        let line = |prefix: &str| {
            let line = text.lines().find(|line| line.starts_with(prefix))?;
            let record = parse_pressure_record(line).ok()?;
            Some(Line { avg10: f64::from(record.avg10), total_us: record.total })
        };
        Some(Self { some: line("some ")?, full: line("full ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_full_line_is_no_error() {
        let text = b"some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\n";
        let some = Line { avg10: 4.5, total_us: 681_245 };
        assert_eq!(Pressure::parse(text), Some(Pressure { some, full: None }));
    }

    #[test]
    fn garbage_is_nothing() {
        for text in [&b""[..], b"some", b"some ", b"\xff", b"full avg10=1.00", b"some avg10=x"] {
            assert_eq!(Pressure::parse(text), None);
        }
    }
}
