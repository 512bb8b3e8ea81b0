//! A report for a person: the verdict first, then where, then what it rests on.

use super::json::sched_records;
use super::page::{Look, Tone, clean, cut, cut_front, spark, squeeze, table};
use crate::policy::report::{Package, Source, Stack, Story, Told};
use crate::policy::verdict::span;
use crate::units::Mono;
use std::time::Duration;

/// Columns of the labels in the margin.
const MARGIN: usize = 10;
/// Groups, packages and moments that are shown; `--json` has all.
const GROUPS: usize = 12;
const PACKAGES: usize = 8;
const MOMENTS: usize = 24;
/// Frames of a group that are shown.
const FRAMES: usize = 6;

/// The whole report on one container.
pub(super) fn page(look: Look, file: &str, source: &Source, verdicts: &[Option<Told>]) -> String {
    let Some(story) = source.runs.last() else { return String::new() };
    let told = verdicts.last().and_then(Option::as_ref);
    let mut out = headline(look, story, told);
    out.push_str(&facts(look, file, source, story));
    out.push_str(&doubts(look, story));
    out.push_str(&evidence(look, story));
    out.push_str(&stacks(look, story));
    out.push_str(&curves(look, story));
    out.push_str(&inits(look, &story.packages, story.packages_total));
    out.push_str(&gc(look, story));
    out.push_str(&timeline(look, story));
    out.push_str(&runs(look, source, verdicts));
    out
}

/// The colour of a class.
fn tone(class: &str) -> Tone {
    match class {
        "ok" => Tone::Good,
        "slow" | "stopped" => Tone::Doubtful,
        _ => Tone::Bad,
    }
}

fn headline(look: Look, story: &Story, told: Option<&Told>) -> String {
    let Some(told) = told else {
        let empty = story.lines == 0 && story.own.is_none();
        let text = if empty {
            "the log is empty: the program has said nothing"
        } else {
            "nothing of the Go runtime and nothing of goinit is in this log"
        };
        let mut out = look.hang("NO ANSWER", Tone::Doubtful, MARGIN, text);
        let next = "start the program under goinit (goinit -- PROGRAM), or with \
                    GODEBUG=schedtrace=1000, or send it SIGQUIT while it hangs";
        out.push_str(&look.hang("next", Tone::Dim, MARGIN, next));
        return out;
    };
    // Nobody shall go back to bed for a guess.
    let guess = told.class == "ok" && told.confidence == "unclear";
    let (mark, tone) = if guess { ("?", Tone::Doubtful) } else { ("", tone(&told.class)) };
    let label = format!("{}{mark}", told.class.to_uppercase());
    let mut out = look.hang(&label, tone, MARGIN, &capital(&told.sentence));
    let mut words = vec![told.cause.clone(), told.confidence.clone()];
    let since = told.since_ms.filter(|_| matches!(told.class.as_str(), "stalled" | "slow"));
    words.extend(since.map(|ms| format!("for {}", span(Duration::from_millis(ms)))));
    words.push(basis(told.basis).to_owned());
    out.push_str(&look.hang("", Tone::Dim, MARGIN, &words.join(" · ")));
    let unsaid = |text: &&String| !told.sentence.contains(text.as_str());
    if let Some(place) = told.place.as_ref().filter(unsaid) {
        out.push_str(&look.hang("where", Tone::Dim, MARGIN, place));
    }
    if let Some(on) = told.on.as_ref().filter(unsaid) {
        out.push_str(&look.hang("on", Tone::Dim, MARGIN, on));
    }
    if let Some(next) = told.next.as_ref().filter(|next| *next != "nothing") {
        out.push_str(&look.hang("next", Tone::Dim, MARGIN, next));
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a verdict rests on.
fn basis(word: &str) -> &'static str {
    match word {
        "record" => "goinit's verdict during the run",
        "replay" => "judged from the evidence in goinit's log",
        "exit" => "from how it ended",
        "dump" => "from the goroutines in the log",
        "snapshots" => "from scheduler snapshots alone",
        _ => "from the last lines",
    }
}

/// One line each: the run, the log, the figures.
fn facts(look: Look, file: &str, source: &Source, story: &Story) -> String {
    let mut out = String::from("\n");
    let mut log = vec![cut_front(file, 60)];
    if !source.name.is_empty() {
        log.push(source.name.clone());
    }
    if let Some(own) = &story.own {
        log.extend(own.pod.clone());
        log.push(format!("goinit run {}", own.run));
    }
    out.push_str(&look.hang("log", Tone::Dim, MARGIN, &log.join(" · ")));
    if let Some(own) = story.own.as_ref().filter(|own| !own.command.is_empty()) {
        out.push_str(&look.hang("command", Tone::Dim, MARGIN, &own.command.join(" ")));
    }
    let mut run = Vec::new();
    if let Some(wall) = story.clock.origin {
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0);
        run.push(format!("began {}", humantime::format_rfc3339_seconds(time)));
    }
    if story.now().0 > 0 {
        run.push(format!("lasted {}", span(Duration::from_nanos(story.now().0))));
    }
    if let Some(snapshot) = &story.history.snapshot {
        run.push(format!("GOMAXPROCS {}", snapshot.gomaxprocs));
        run.push(format!("at most {}", many(story.max_threads.into(), "thread")));
    }
    if let Some(words) = story.exit.words() {
        out.push_str(&look.hang("end", Tone::Dim, MARGIN, &words));
    }
    if !run.is_empty() {
        out.push_str(&look.hang("run", Tone::Dim, MARGIN, &run.join(", ")));
    }
    let mut found = Vec::new();
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            found.push(many(number, what));
        }
    };
    count(sched_records(story), "snapshot");
    count(story.goroutines.max(story.testimony.total), "goroutine");
    count(story.packages_total, "package init");
    count(story.gc.cycles, "collection");
    count(story.lines, "line");
    if story.clock.runtimes() > 1 {
        found.push(format!("{} Go runtimes on one stderr", story.clock.runtimes()));
    }
    if !found.is_empty() {
        out.push_str(&look.hang("found", Tone::Dim, MARGIN, &found.join(", ")));
    }
    if story.lines > 0 && story.own.is_none() {
        let last = clean(&String::from_utf8_lossy(&story.last_line));
        let room = look.width.saturating_sub(MARGIN);
        out.push_str(&look.hang("last line", Tone::Dim, MARGIN, &cut(&last, room)));
    }
    out
}

fn many(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// What takes away from the trust in all this.
fn doubts(look: Look, story: &Story) -> String {
    let mut all = Vec::new();
    if story.damaged > 0 {
        all.push(format!("{} torn by other writers", many(story.damaged, "snapshot")));
    }
    if let Some(own) = &story.own {
        if own.headless {
            all.push("the log begins in the middle of the run".to_owned());
        }
        if own.lost > 0 {
            all.push(format!("{} missing in between", many(own.lost, "record")));
        }
        if own.dropped > 0 {
            all.push(format!("goinit had to give up {}", many(own.dropped, "record")));
        }
        if own.suspects > 0 {
            let what = many(own.suspects, "record");
            all.push(format!("{what} out of order: forged, or pasted twice; not believed"));
        }
        if story.exit.code.is_none() {
            all.push("no last record: the log was cut, or the run goes on".to_owned());
        }
    }
    if all.is_empty() {
        return String::new();
    }
    look.hang("but", Tone::Doubtful, MARGIN, &all.join("; "))
}

fn title(look: Look, text: &str) -> String {
    format!("\n{}\n", look.paint(Tone::Bold, text))
}

fn evidence(look: Look, story: &Story) -> String {
    if story.testimony.sentences.is_empty() {
        return String::new();
    }
    let mut out = title(look, "Evidence");
    for sentence in story.testimony.sentences.iter().take(GROUPS) {
        out.push_str(&look.hang("", Tone::Plain, 2, sentence));
    }
    out
}

/// The goroutines, grouped; first the one that crashed or the main one, then by size.
fn stacks(look: Look, story: &Story) -> String {
    let all = if story.stacks.is_empty() { &story.testimony.stacks } else { &story.stacks };
    let first = story.crashed_in.or_else(|| story.main_stack());
    let mut shown: Vec<(usize, &Stack)> =
        all.iter().enumerate().filter(|(at, stack)| !stack.system || Some(*at) == first).collect();
    if shown.is_empty() {
        return String::new();
    }
    shown.sort_by_key(|(at, stack)| {
        (Some(*at) != first && !stack.ids.contains(&1), std::cmp::Reverse(stack.count))
    });
    let users: u64 = shown.iter().map(|(_, stack)| stack.count).sum();
    let system: u64 = all.iter().filter(|stack| stack.system).map(|stack| stack.count).sum();
    let own =
        if system > 0 { format!(", {system} of the runtime not shown") } else { String::new() };
    let text = format!("{} in {}{own}", many(users, "goroutine"), many(count(&shown), "group"));
    let mut out = title(look, &text);
    for (at, stack) in shown.iter().take(GROUPS) {
        out.push_str(&group(look, stack, story.crashed_in == Some(*at)));
    }
    let more = shown.len().saturating_sub(GROUPS);
    let more = count_of(more).saturating_add(story.stacks_left_out);
    if more > 0 {
        out.push_str(&format!("  … {} more; --json lists them\n", many(more, "group")));
    }
    out
}

fn count<T>(list: &[T]) -> u64 {
    count_of(list.len())
}

fn count_of(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn group(look: Look, stack: &Stack, crashed: bool) -> String {
    let mut head = format!("  {:>5} × ", stack.count);
    head.push_str(&look.paint(Tone::Bold, &clean(&stack.state)));
    let mut notes = Vec::new();
    if stack.ids.contains(&1) {
        notes.push("main".to_owned());
    } else if let Some(id) = stack.ids.first() {
        notes.push(format!("goroutine {id}"));
    }
    if crashed {
        notes.push("crashed".to_owned());
    }
    if stack.minutes > 0 {
        notes.push(format!("up to {}", many(stack.minutes, "minute")));
    }
    notes.extend(stack.waits_on.clone());
    notes.extend(stack.labels.clone());
    if !notes.is_empty() {
        head.push_str(&format!("  ({})", cut(&clean(&notes.join(", ")), look.width / 2)));
    }
    let mut out = format!("{head}\n");
    let room = look.width.saturating_sub(10);
    let mut frames: Vec<&(String, String)> = stack.frames.iter().take(FRAMES).collect();
    // How the standard library waits is less telling than where the program called it.
    let own = stack.frames.iter().find(|(function, _)| is_own(function));
    if let Some(own) = own.filter(|own| !frames.contains(own)) {
        frames.truncate(2);
        frames.push(own);
    }
    for frame in &frames {
        out.push_str(&format!("          {}\n", place(frame, room)));
    }
    let left = stack.frames.len().saturating_sub(frames.len());
    if left > 0 {
        out.push_str(&format!("          … {}\n", many(count_of(left), "more frame")));
    }
    if let Some(by) = &stack.created_by {
        let line = format!("started by {}", place(by, room.saturating_sub(11)));
        out.push_str(&format!("          {}\n", look.paint(Tone::Dim, &line)));
    }
    out
}

/// Whether a function is the program's, as far as its name tells: `main.` or a path with a host.
fn is_own(function: &str) -> bool {
    let path = function.rsplit_once('/').map_or(function, |(path, _)| path);
    function.starts_with("main.") || path.split('/').next().is_some_and(|host| host.contains('.'))
}

/// Function and place in the room there is; the end of the path is kept.
fn place((function, at): &(String, String), room: usize) -> String {
    let function = clean(function);
    let length = function.chars().count() + 2;
    if at.is_empty() || length + 8 > room {
        return cut(&function, room);
    }
    format!("{function}  {}", cut_front(&clean(at), room - length))
}

/// Processors, queue and threads over time.
fn curves(look: Look, story: &Story) -> String {
    let points = story.series.points();
    if points.len() < 3 {
        return String::new();
    }
    let room = look.width.saturating_sub(44).clamp(10, 120);
    let lasted = span(Duration::from_nanos(story.now().0));
    let text = format!("Scheduler, {lasted} from left to right");
    let mut out = title(look, &text);
    let mut curve = |name: &str, values: Vec<f64>, most: f64, words: String| {
        let first = values.first().copied().unwrap_or(0.0);
        if values.iter().all(|value| (value - first).abs() < f64::EPSILON) {
            let busy = name == "busy Ps";
            let (value, unit) = if busy { (first * 100.0, " %") } else { (first, "") };
            out.push_str(&format!("  {name:<10} {value:.0}{unit} all the time\n"));
            return;
        }
        let values = squeeze(&values, room);
        out.push_str(&format!("  {name:<10} {}  {words}\n", spark(&values, most)));
    };
    let busy: Vec<f64> = points.iter().map(|point| f64::from(point.busy)).collect();
    let last = busy.last().copied().unwrap_or(0.0);
    let average = busy.iter().sum::<f64>() / busy.len() as f64;
    let words = format!("{:.0} % on average, {:.0} % at last", average * 100.0, last * 100.0);
    curve("busy Ps", busy, 1.0, words);
    let queue: Vec<f64> = points.iter().map(|point| f64::from(point.queue)).collect();
    let most = queue.iter().copied().fold(0.0, f64::max);
    let words = format!("at most {most:.0} waiting, {:.0} at last", queue.last().unwrap_or(&0.0));
    curve("run queue", queue, most, words);
    let threads: Vec<f64> = points.iter().map(|point| f64::from(point.threads)).collect();
    let most = threads.iter().copied().fold(0.0, f64::max);
    let words = format!("at most {most:.0}, {:.0} at last", threads.last().unwrap_or(&0.0));
    curve("threads", threads, most, words);
    out
}

/// The init waterfall: the slowest packages, with where in the start they lie.
fn inits(look: Look, packages: &[Package], total: u64) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let end = packages.iter().map(|one| one.at_ms + one.duration_ms).fold(0.0, f64::max);
    let mut slowest: Vec<&Package> = packages.iter().collect();
    slowest.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
    let text = format!("Package init, {} in {end:.1} ms, slowest first", many(total, "package"));
    let mut out = title(look, &text);
    let room = 24.0;
    for package in slowest.iter().take(PACKAGES) {
        let scale = |ms: f64| if end > 0.0 { ms / end * room } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "columns of a bar, between 0 and 24"
        )]
        let columns = |ms: f64| scale(ms).clamp(0.0, room) as usize;
        let before = columns(package.at_ms).min(23);
        let bar = columns(package.duration_ms).clamp(1, 24 - before);
        let after = 24 - before - bar;
        let line = format!(
            "  {:>9.3} ms  {}{}{}  {}",
            package.duration_ms,
            "·".repeat(before),
            "█".repeat(bar),
            "·".repeat(after),
            clean(&package.name)
        );
        out.push_str(&cut(&line, look.width));
        out.push('\n');
    }
    if slowest.len() > PACKAGES {
        out.push_str(&format!("  … {} more\n", slowest.len() - PACKAGES));
    }
    out
}

fn gc(look: Look, story: &Story) -> String {
    let gc = &story.gc;
    if gc.cycles == 0 {
        return String::new();
    }
    let forced = if gc.forced > 0 { format!(" ({} forced)", gc.forced) } else { String::new() };
    let text = format!(
        "{}{forced}, {} % of the CPU; longest pause {:.2} ms, all together {:.1} ms; heap at most \
         {} MB, live at last {} MB, goal {} MB",
        many(gc.cycles, "collection"),
        gc.last.cpu_percent,
        gc.pause_max_ms,
        gc.pause_total_ms,
        gc.heap_max_mb,
        gc.last.heap_live_mb,
        gc.last.goal_mb
    );
    let mut out = title(look, "Garbage collection");
    out.push_str(&look.hang("", Tone::Plain, 2, &text));
    out
}

fn timeline(look: Look, story: &Story) -> String {
    let mut moments: Vec<(Mono, &str)> = story
        .moments
        .iter()
        .map(|moment| {
            let words = if moment.text.is_empty() { moment.what } else { moment.text.as_str() };
            (moment.at, words)
        })
        .collect();
    let last = story.last_line_at.filter(|_| story.own.is_none());
    moments.extend(last.map(|at| (at, "last line of the program")));
    moments.push((story.now(), "the log ends"));
    moments.sort_by_key(|(at, _)| *at);
    if moments.len() < 3 {
        return String::new();
    }
    let mut out = title(look, "Time line");
    let cut_out = moments.len().saturating_sub(MOMENTS);
    for (at, (when, text)) in moments.iter().enumerate() {
        // The beginning and the end tell most.
        if cut_out > 0 && (MOMENTS / 2..MOMENTS / 2 + cut_out).contains(&at) {
            if at == MOMENTS / 2 {
                out.push_str(&format!("             … {cut_out} more\n"));
            }
            continue;
        }
        let label = format!("  {:>8}", clock(*when));
        out.push_str(&look.hang(&label, Tone::Dim, 13, text));
    }
    out
}

/// `+2.300s`, `+1h02m03s`
fn clock(at: Mono) -> String {
    let time = Duration::from_nanos(at.0);
    if time < Duration::from_secs(100) {
        format!("+{:.2}s", time.as_secs_f64())
    } else {
        format!("+{}", span(time))
    }
}

fn runs(look: Look, source: &Source, verdicts: &[Option<Told>]) -> String {
    if source.runs.len() < 2 {
        return String::new();
    }
    let all = count(&source.runs).saturating_add(source.runs_left_out);
    let mut out = title(look, &format!("{} in this log, the newest above", many(all, "run")));
    let rows = source.runs.iter().zip(verdicts).map(|(story, told)| {
        let told = told.as_ref();
        vec![
            format!("  {}", story.own.as_ref().map_or("-", |own| own.run.as_str())),
            told.map_or_else(String::new, |told| format!("{}/{}", told.class, told.cause)),
            story.exit.code.map_or_else(String::new, |code| format!("exit {code}")),
            told.map_or_else(String::new, |told| clean(&told.sentence)),
        ]
    });
    for line in table(&rows.collect::<Vec<_>>(), look.width) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// One row of the table over many logs.
pub(super) fn row(file: &str, source: &Source, told: Option<&Told>) -> Vec<String> {
    let story = source.runs.last();
    let name = match source.name.as_str() {
        "" => cut_front(file, 40),
        name => cut_front(name, 40),
    };
    let exit = story.and_then(|story| story.exit.code);
    vec![
        told.map_or("-", |told| told.class.as_str()).to_owned(),
        told.map_or("-", |told| told.cause.as_str()).to_owned(),
        exit.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        name,
        told.map_or_else(|| "nothing of a Go program".to_owned(), |told| clean(&told.sentence)),
    ]
}

/// The table over many logs: the bad ones first.
pub(super) fn overview(look: Look, mut rows: Vec<Vec<String>>) -> String {
    let order = ["stalled", "crashed", "killed", "stopped", "slow", "-", "ok"];
    rows.sort_by_key(|row| order.iter().position(|class| row.first().is_some_and(|c| c == class)));
    let head = ["CLASS", "CAUSE", "EXIT", "LOG", "WHAT"].map(str::to_owned).to_vec();
    rows.insert(0, head);
    if rows.iter().skip(1).all(|row| row.get(2).is_some_and(|exit| exit == "-")) {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    let mut out = String::new();
    for (number, line) in table(&rows, look.width).iter().enumerate() {
        let class = rows.get(number).and_then(|row| row.first()).map_or("", String::as_str);
        let colour = if number == 0 { Tone::Bold } else { tone(class) };
        let (word, rest) = line.split_at_checked(class.len()).unwrap_or((line, ""));
        out.push_str(&look.paint(colour, word));
        out.push_str(rest);
        out.push('\n');
    }
    out
}
