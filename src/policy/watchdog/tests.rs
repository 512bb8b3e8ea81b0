//! Every cell of the table, played as scripts: `10 beat` is an event in the tenth second.
//!
//! Events: `beat` (all Ps idle), `busy` (none idle), `queue` (long queues), `stw` (a stop-the-world
//! is wanted), `quiet`, `io`, `burn` (counters), `text`, `init`, `gap5`, `stop`, `cont`, `closed`,
//! `guilty`, `cleared` (evidence), `tick`.

use super::*;

const SETTINGS: Settings = Settings {
    stall_after: Duration::from_secs(10),
    heartbeat: Duration::from_secs(1),
    evidence_limit: Duration::from_secs(3),
    expect_heartbeat: true,
};

fn second(at: u64) -> Mono {
    Mono(at * 1_000_000_000)
}

/// A player of scripts.
struct Play {
    watchdog: Watchdog,
    read: u64,
    cpu_us: u64,
    log: Vec<String>,
}

impl Play {
    fn new(settings: Settings) -> Self {
        Self { watchdog: Watchdog::new(settings, second(0)), read: 0, cpu_us: 0, log: Vec::new() }
    }

    fn event(&mut self, at: u64, word: &str) {
        let idle = Snapshot { gomaxprocs: 2, idleprocs: 2, threads: 4, ..Snapshot::default() };
        let busy = Snapshot { idleprocs: 0, ..idle.clone() };
        let queue = Snapshot { runqueue: 9, local: vec![20, 20], ..busy.clone() };
        let stw = Snapshot { gcwaiting: Some(true), ..busy.clone() };
        self.read += if word == "io" { 100_000 } else { 0 };
        self.cpu_us += if word == "burn" { 900_000 } else { 0 };
        let sample = Sample {
            at: second(at),
            read_bytes: Some(self.read),
            cpu_us: Some(self.cpu_us),
            ..Sample::default()
        };
        let seen = match word {
            "beat" => Seen::Heartbeat(&idle),
            "busy" => Seen::Heartbeat(&busy),
            "queue" => Seen::Heartbeat(&queue),
            "stw" => Seen::Heartbeat(&stw),
            "quiet" | "io" | "burn" => Seen::Sample(&sample),
            "text" => Seen::AppBytes(80),
            "init" => Seen::InitDone,
            "stop" => Seen::Stopped,
            "cont" => Seen::Continued,
            "closed" => Seen::StderrClosed,
            "guilty" => Seen::Evidence(false),
            "cleared" => Seen::Evidence(true),
            "tick" => Seen::Tick,
            gap => {
                Seen::Gap(Duration::from_secs(gap.strip_prefix("gap").unwrap().parse().unwrap()))
            }
        };
        for done in self.watchdog.step(second(at), seen) {
            let text = match done {
                Move::Collect => "collect".to_owned(),
                Move::Report(s) => {
                    format!("{}#{} {}s", s.kind.word(), s.report, s.lasted.as_secs())
                }
                Move::Recovered(s) => {
                    format!("recovered {} {}s", s.kind.word(), s.lasted.as_secs())
                }
                Move::Blind(_) => "blind".to_owned(),
            };
            self.log.push(format!("{at}:{text}"));
        }
    }

    /// Plays `3-9 beat` as seven events; several words stand for one second.
    fn script(mut self, script: &str) -> Vec<String> {
        for line in script.split(';') {
            let mut words = line.split_whitespace();
            let when = words.next().unwrap();
            let (first, last) = when.split_once('-').unwrap_or((when, when));
            let words: Vec<&str> = words.collect();
            for at in first.parse().unwrap()..=last.parse().unwrap() {
                words.iter().for_each(|word| self.event(at, word));
            }
        }
        self.log
    }
}

fn check(script: &str, expected: &[&str]) {
    assert_eq!(Play::new(SETTINGS).script(script), expected, "{script}");
}

fn check_unexpected(script: &str, expected: &[&str]) {
    let settings = Settings { expect_heartbeat: false, ..SETTINGS };
    assert_eq!(Play::new(settings).script(script), expected, "{script}");
}

// Arming

#[test]
fn arming_a_heartbeat_begins_the_watch() {
    check("1-9 beat quiet; 10 text beat", &[]);
}

#[test]
fn arming_without_a_heartbeat_is_silence() {
    check("1-9 text tick; 10 tick; 11 guilty", &["10:collect", "11:silent#1 11s"]);
}

#[test]
fn arming_a_gap_of_our_own_is_not_the_programs_silence() {
    check("8 gap7; 10 tick; 16 tick; 17 tick", &["17:collect"]);
}

#[test]
fn arming_a_closed_stderr_makes_blind() {
    check("1 closed; 20 tick; 21 beat", &["1:blind"]);
}

#[test]
fn arming_an_answer_nobody_asked_for_means_nothing() {
    check("1 guilty; 2 cleared; 3 beat", &[]);
}

// Watching

#[test]
fn watching_no_progress_for_the_threshold_is_suspicious() {
    check("1-10 beat quiet; 11 guilty", &["10:collect", "11:idle#1 11s"]);
}

#[test]
fn watching_any_progress_sets_the_clock_anew() {
    for progress in ["text", "io", "init", "burn"] {
        check(&format!("1-7 beat quiet; 8 {progress}; 9-17 beat quiet; 18 beat"), &["18:collect"]);
    }
}

#[test]
fn watching_silence_after_heartbeats_is_suspicious() {
    check("1-5 beat text; 14 text; 15 tick; 16 guilty", &["15:collect", "16:silent#1 11s"]);
}

#[test]
fn watching_two_missing_heartbeats_are_no_stall() {
    check("1-5 beat text; 8 tick; 9 beat text; 12 beat text", &[]);
}

#[test]
fn without_heartbeats_the_clock_is_looked_at_so_that_a_pause_of_our_own_is_seen() {
    let mut play = Play::new(SETTINGS);
    let wakes_at = |play: &Play| play.watchdog.deadline().map(|at| at.0 / 1_000_000);
    assert_eq!(wakes_at(&play), Some(2_500));
    play.event(1, "beat");
    assert_eq!(wakes_at(&play), Some(3_500), "the next heartbeat comes before");
    play.event(5, "tick");
    assert_eq!(wakes_at(&play), Some(7_500));
    play.event(9, "tick");
    assert_eq!(wakes_at(&play), Some(10_000), "a stall is due");
}

#[test]
fn watching_a_gap_suspends_the_clocks() {
    check("1-5 beat quiet; 25 gap20; 26-29 beat quiet; 30 beat", &["30:collect"]);
}

#[test]
fn watching_a_stop_suspends_the_clocks_until_it_has_lasted_too_long() {
    check("1-8 beat quiet; 9 stop; 14 tick; 15 cont; 16 beat; 17 beat", &["16:collect"]);
    check("1-8 beat text; 9 stop; 19 tick; 20 guilty", &["19:collect", "20:silent#1 12s"]);
}

#[test]
fn watching_a_closed_stderr_makes_blind() {
    check("1-5 beat; 6 closed; 30 tick", &["6:blind"]);
}

#[test]
fn watching_an_answer_nobody_asked_for_means_nothing() {
    check("1 beat text; 2 guilty; 3 cleared; 4 beat", &[]);
}

#[test]
fn cpu_without_output_is_spinning() {
    check("1-12 busy burn; 13 guilty", &["11:collect", "13:spinning#1 12s"]);
}

#[test]
fn cpu_with_output_is_neither() {
    check("1-40 busy burn text", &[]);
}

#[test]
fn queues_that_never_shrink_are_starvation_unless_there_is_output() {
    check("1-10 queue; 11 queue; 12 guilty", &["11:collect", "12:starved#1 11s"]);
    check("1-40 queue text", &[]);
    check("1-6 queue text; 7 busy text; 8-16 queue text", &[]);
}

#[test]
fn a_stop_the_world_that_does_not_end_is_told_although_there_is_output() {
    check("1-10 stw text; 11 stw text; 12 guilty", &["11:collect", "12:stw#1 11s"]);
    check("1-8 stw text; 9 busy text; 10-18 stw text", &[]);
}

#[test]
fn a_little_cpu_hides_a_dead_program_for_four_times_the_patience_only() {
    let mut play = Play::new(SETTINGS);
    for at in 1..=40 {
        play.cpu_us += 20_000;
        play.event(at, "beat");
        play.event(at, "quiet");
    }
    play.event(41, "guilty");
    assert_eq!(play.log, ["40:collect", "41:idle#1 41s"]);
}

// Suspect

#[test]
fn suspect_progress_clears_without_a_word() {
    check(
        "1-10 beat quiet; 11 text; 12 guilty; 13-20 beat quiet; 21 beat",
        &["10:collect", "21:collect"],
    );
}

#[test]
fn suspect_a_heartbeat_without_progress_changes_nothing() {
    check("1-12 beat quiet; 12 guilty", &["10:collect", "12:idle#1 12s"]);
}

#[test]
fn suspect_without_an_answer_is_reported_at_the_deadline() {
    check("1-10 beat quiet; 12 tick; 13 tick", &["10:collect", "13:idle#1 13s"]);
}

#[test]
fn suspect_evidence_of_progress_clears() {
    check("1-10 beat quiet; 11 cleared; 12-20 beat quiet; 21 beat", &["10:collect", "21:collect"]);
}

#[test]
fn suspect_a_gap_gives_the_answer_more_time() {
    check("1-10 beat quiet; 12 gap1; 14 tick; 15 tick", &["10:collect", "15:idle#1 14s"]);
}

#[test]
fn suspect_a_closed_stderr_makes_blind() {
    check("1-10 beat quiet; 11 closed; 12 guilty", &["10:collect", "11:blind"]);
}

#[test]
fn suspect_of_silence_a_heartbeat_clears() {
    check("1 beat text; 11 tick; 12 beat text; 13 guilty", &["11:collect"]);
}

// Stalled

#[test]
fn stalled_is_said_again_at_two_four_and_eight_times_with_new_evidence() {
    check(
        "1-10 beat quiet; 10 guilty; 11-20 beat quiet; 21 guilty; 22-40 beat quiet; 40 guilty; \
         41-70 beat quiet; 79 tick; 80 tick; 83 tick",
        &[
            "10:collect",
            "10:idle#1 10s",
            "20:collect",
            "21:idle#2 21s",
            "40:collect",
            "40:idle#3 40s",
            // No heartbeat came for long: by then it is silence.
            "80:collect",
            "83:silent#4 13s",
        ],
    );
}

#[test]
fn stalled_progress_is_recovery_with_the_whole_length() {
    check(
        "1-10 beat quiet; 10 guilty; 15 text; 16 beat",
        &["10:collect", "10:idle#1 10s", "15:recovered idle 15s"],
    );
}

#[test]
fn stalled_heartbeats_an_answer_and_a_closed_stderr_change_nothing() {
    check(
        "1-10 beat quiet; 10 guilty; 11-13 beat quiet; 14 guilty; 15 closed; 16 tick",
        &["10:collect", "10:idle#1 10s"],
    );
}

#[test]
fn stalled_a_gap_or_a_stop_is_no_recovery() {
    check(
        "1-10 beat quiet; 10 guilty; 15 gap5; 16 stop; 17 tick; 18 cont; 19 tick",
        &["10:collect", "10:idle#1 10s"],
    );
}

#[test]
fn stalled_silence_ends_with_the_next_heartbeat() {
    check(
        "1 beat text; 11 tick; 11 guilty; 14 beat text",
        &["11:collect", "11:silent#1 10s", "14:recovered silent 13s"],
    );
}

#[test]
fn stalled_by_a_stop_ends_when_it_goes_on() {
    check(
        "1-8 beat text; 9 stop; 19 tick; 20 guilty; 25 cont; 26 beat text",
        &["19:collect", "20:silent#1 12s", "25:recovered silent 17s"],
    );
}

#[test]
fn stalled_evidence_of_progress_is_recovery() {
    check(
        "1-10 beat quiet; 10 guilty; 20 tick; 20 cleared",
        &["10:collect", "10:idle#1 10s", "20:collect", "20:recovered idle 20s"],
    );
}

// Blind

#[test]
fn blind_is_said_once_and_never_accuses() {
    check("1 closed; 2 beat; 3 guilty; 4 cleared; 5 gap3; 6 closed; 99 tick", &["1:blind"]);
    check_unexpected("1 tick; 2 text; 60 tick; 99 tick; 100 closed", &["1:blind"]);
}

#[test]
fn a_wrapper_that_starts_a_go_program_is_watched_until_that_ends() {
    check_unexpected(
        "1 text; 2-13 beat quiet; 13 guilty",
        &["1:blind", "11:collect", "13:idle#1 12s"],
    );
    check_unexpected("1 text; 2-4 beat text; 14 tick; 30 tick", &["1:blind"]);
}

#[test]
fn every_deadline_is_in_the_future_and_a_tick_at_it_moves_on() {
    let mut play = Play::new(SETTINGS);
    play.event(1, "beat");
    let mut at = second(1);
    for _ in 0..40 {
        let due = play.watchdog.deadline().unwrap();
        assert!(due > at, "{due:?} {:?}", play.watchdog.state());
        at = due;
        let _ = play.watchdog.step(at, Seen::Tick);
    }
}

// Writes at one instant

#[test]
fn a_write_at_an_instant_that_was_looked_at_changes_nothing_but_the_figures() {
    const WORDS: [&str; 15] = [
        "beat", "busy", "queue", "stw", "quiet", "io", "burn", "init", "gap5", "stop", "cont",
        "closed", "guilty", "cleared", "tick",
    ];
    const STEPS: [u64; 8] = [0, 0, 0, 0, 0, 1, 2, 7];
    let mut dice = 88_172_645_463_325_252u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % u64::try_from(sides).unwrap()).unwrap()
    };
    let (mut reports, mut clear) = (0, 0);
    for _ in 0..2_000 {
        let [mut quick, mut thorough] = [(); 2].map(|()| Play::new(SETTINGS));
        let mut at = 0;
        for _ in 0..100 {
            at += STEPS[roll(STEPS.len())];
            // Blind stays blind: most runs get by without.
            let word = if roll(2) == 0 { "text" } else { WORDS[roll(WORDS.len())] };
            let word = if word == "closed" && roll(40) > 0 { "busy" } else { word };
            clear += usize::from(quick.watchdog.clear == Some(second(at)) && word == "text");
            quick.event(at, word);
            thorough.watchdog.clear = None;
            thorough.event(at, word);
            assert_eq!(quick.watchdog.state, thorough.watchdog.state, "{at} {word}");
        }
        assert_eq!(quick.log, thorough.log);
        reports += quick.log.iter().filter(|line| line.contains('#')).count();
    }
    assert!(reports > 1_000 && clear > 10_000, "{reports} {clear}");
}
