//! Help and man page, made from the table of flags.

use super::flags::{FLAGS, Flag, Section};

/// What stands above the flags.
const INTRODUCTION: &str = "\
goinit: an init for Go programs in containers

Usage:
  goinit [OPTIONS] -- COMMAND [ARG…]    run COMMAND as its init
  goinit SUBCOMMAND …                   `goinit SUBCOMMAND --help` tells more

It sets GOMAXPROCS and GOMEMLIMIT to the container's real limits, forwards signals, reaps
orphans, mirrors the exit code, turns the program's stderr into JSON records, and when the
program hangs it says why: in the log, in the Kubernetes termination message, by exit code.

In an image:
  COPY --from=goinit /goinit /goinit
  ENTRYPOINT [\"/goinit\",\"--\"]
  CMD [\"/app/server\"]

By hand:
  goinit --stall-after 10s --on-stall exit -- ./migrate up 2>migrate.log
  grep goinit.verdict migrate.log
";

/// Subcommands with one line each.
pub(crate) const SUBCOMMANDS: &[(&str, &str)] = &[
    ("run", "the same as no subcommand"),
    ("limits", "what limits this container has, and where each was read"),
    ("inspect", "a program's Go version and linkage; will it start here?"),
    ("dump", "every goroutine of a live Go program, without stopping it"),
    ("probe", "an exec probe: is the program live, has it started?"),
    ("report", "a captured log of a Go program: verdict, goroutines, time line"),
];

/// What stands below the flags.
const CONCLUSION: &str = "\
Every flag can be given as a variable: --stall-after 10s is GOINIT_STALL_AFTER=10s, a switch is
GOINIT_GROUP=1; a flag beats its variable. GOINIT_DISABLED=reason execs the command at once and
does nothing else. Durations are written like 30s, 1m30s, 500ms.

Exit codes:
  the program's own, or 128+n when signal n ended it
  123 stalled and ended by goinit   124 deadline (--timeout)   125 goinit itself failed
  126 COMMAND is not executable     127 COMMAND was not found
";

/// Columns of the help.
const WIDTH: usize = 96;
/// Column at which the text of a flag begins.
const INDENT: usize = 30;

/// The whole help.
pub(crate) fn text() -> String {
    let mut help = String::from(INTRODUCTION);
    help.push_str("\nSubcommands:\n");
    for (name, line) in SUBCOMMANDS {
        help.push_str(&format!("  {name:<10} {line}\n"));
    }
    for (section, title) in Section::ALL {
        help.push_str(&format!("\n{title}:\n"));
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            entry(&names(flag), flag.help, &mut help);
        }
    }
    entry("  -h, --help", "This text.", &mut help);
    entry("      --version", "The version.", &mut help);
    help.push('\n');
    help.push_str(CONCLUSION);
    help
}

fn names(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = flag.value.map_or_else(String::new, |value| format!(" {value}"));
    format!("  {short}--{}{value}", flag.long)
}

/// One flag with its text, wrapped.
fn entry(names: &str, text: &str, help: &mut String) {
    help.push_str(names);
    let mut column = names.chars().count();
    if column + 2 > INDENT {
        help.push('\n');
        column = 0;
    }
    help.push_str(&" ".repeat(INDENT - column));
    column = INDENT;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column + length > WIDTH {
            help.truncate(help.trim_end_matches(' ').len());
            help.push('\n');
            help.push_str(&" ".repeat(INDENT));
            column = INDENT;
        }
        help.push_str(word);
        help.push(' ');
        column += length + 1;
    }
    help.truncate(help.trim_end().len());
    help.push('\n');
}

/// The man page, in roff.
pub(crate) fn man() -> String {
    let escape = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let mut page = format!(
        ".TH GOINIT 1 \"\" \"goinit {}\" \"User Commands\"\n.SH NAME\ngoinit \\- an init for Go \
         programs in containers\n.SH SYNOPSIS\n.B goinit\n[\\fIOPTIONS\\fR] \\-\\- \\fICOMMAND\\fR \
         [\\fIARG\\fR]...\n.br\n.B goinit\n\\fISUBCOMMAND\\fR ...\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
    );
    let about = INTRODUCTION.split("\n\n").nth(2).unwrap_or_default();
    page.push_str(&format!("{}\n.SH SUBCOMMANDS\n", escape(about)));
    for (name, line) in SUBCOMMANDS {
        page.push_str(&format!(".TP\n.B {name}\n{}\n", escape(line)));
    }
    page.push_str(".SH OPTIONS\n");
    for (section, title) in Section::ALL {
        page.push_str(&format!(".SS {title}\n"));
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            let short = flag.short.map_or_else(String::new, |s| format!("\\-{s}, "));
            let value = flag.value.map_or_else(String::new, |v| format!(" \\fI{}\\fR", escape(v)));
            let long = escape(flag.long);
            let variable = flag.variable();
            let help = escape(flag.help);
            page.push_str(&format!(
                ".TP\n\\fB{short}\\-\\-{long}\\fR{value}\n{help} Variable: {variable}.\n"
            ));
        }
    }
    page.push_str(&format!(".SH GOINIT LIMITS\n.nf\n{}.fi\n", escape(super::limits::HELP)));
    page.push_str(&format!(".SH GOINIT INSPECT\n.nf\n{}.fi\n", escape(super::inspect::HELP)));
    page.push_str(&format!(".SH GOINIT DUMP\n.nf\n{}.fi\n", escape(super::dump::HELP)));
    page.push_str(&format!(".SH GOINIT REPORT\n.nf\n{}.fi\n", escape(super::report::HELP)));
    page.push_str(&format!(".SH ENVIRONMENT AND EXIT STATUS\n.nf\n{}.fi\n", escape(CONCLUSION)));
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_man_page_is_the_one_that_is_made_from_the_flags() {
        let kept = include_str!("../../docs/goinit.1");
        assert_eq!(super::man(), kept, "make it anew: goinit __man >docs/goinit.1");
    }

    #[test]
    fn every_subcommand_is_in_the_help() {
        for (name, _) in super::SUBCOMMANDS {
            assert!(super::text().contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
