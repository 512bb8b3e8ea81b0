//! The program as a whole: two looks.

use super::descriptors::Descriptors;
use super::proc::{Program, SMALL};
use crate::linux::stat::{self, Io as IoFile, Stat};
use crate::policy::evidence::{Io, Process, Why};
use crate::units::Pid;

/// The program at one moment.
#[derive(Debug)]
pub(super) struct Look {
    stat: Stat,
    status: Vec<u8>,
    io: Option<IoFile>,
}

impl Look {
    /// Reads its files.
    pub(super) fn take(program: &Program) -> Result<Self, Why> {
        let text = program.read("stat", SMALL)?;
        let stat = Stat::parse(&text)
            .ok_or_else(|| Why::Malformed(String::from_utf8_lossy(&text).into_owned()))?;
        Ok(Self {
            stat,
            status: program.read("status", SMALL).unwrap_or_default(),
            io: program.read("io", SMALL).ok().and_then(|text| IoFile::parse(&text)),
        })
    }

    /// The program, with what changed since an earlier look.
    pub(super) fn describe(
        &self,
        before: &Self,
        program: &Program,
        descriptors: Option<&Descriptors>,
    ) -> Process {
        const KIB: u64 = 1024;
        let kib = |key: &str| stat::number(&self.status, key).unwrap_or(0).saturating_mul(KIB);
        let [_, uid, ..] = stat::ids(&self.status, "Uid").unwrap_or_default();
        let tracer = stat::number(&self.status, "TracerPid").and_then(|n| i32::try_from(n).ok());
        let limits = program.read("limits", SMALL).unwrap_or_default();
        Process {
            name: self.stat.name.clone(),
            state: self.stat.state.to_string(),
            threads: self.stat.threads,
            uid: u64::from(uid),
            tracer: tracer.filter(|tracer| *tracer != 0).map(Pid),
            cpu_ms: self.stat.cpu_ms(),
            cpu_delta_us: 0,
            rss_bytes: kib("VmRSS"),
            swap_bytes: kib("VmSwap"),
            io: self.io.as_ref().map(counters),
            io_delta: self.io.zip(before.io).map(|(now, then)| grown(&now, &then)),
            descriptors: descriptors.and_then(|d| d.count),
            descriptors_max: stat::open_files_limit(&limits),
            children: Vec::new(),
        }
    }
}

const fn counters(io: &IoFile) -> Io {
    Io {
        rchar: io.rchar,
        wchar: io.wchar,
        syscr: io.syscr,
        syscw: io.syscw,
        read_bytes: io.read_bytes,
        write_bytes: io.write_bytes,
    }
}

const fn grown(now: &IoFile, then: &IoFile) -> Io {
    Io {
        rchar: now.rchar.saturating_sub(then.rchar),
        wchar: now.wchar.saturating_sub(then.wchar),
        syscr: now.syscr.saturating_sub(then.syscr),
        syscw: now.syscw.saturating_sub(then.syscw),
        read_bytes: now.read_bytes.saturating_sub(then.read_bytes),
        write_bytes: now.write_bytes.saturating_sub(then.write_bytes),
    }
}
