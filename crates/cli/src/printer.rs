//! The only place that prints. Results go to stdout and talk to stderr; a reader that has gone away is no error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::arguments::{ColorChoice, GlobalArguments, OutputForm};
use crate::environment::Environment;
use crate::style::{Palette, Tone};

/// How often progress is drawn, a second.
const DRAWS_A_SECOND: u8 = 10;

type Stream = Mutex<Box<dyn Write + Send>>;

/// What one of the two streams can show.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Surface {
    /// Its colours.
    pub(crate) palette: Palette,
    /// Its width in characters; `None` where lines may be of any length.
    pub(crate) width: Option<usize>,
    /// Whether a person is likely to look at it as it is written.
    pub(crate) is_terminal: bool,
}

/// Writes results and talk. Shared by the command, its progress and the log, whose lines never run into each other.
pub(crate) struct Printer {
    stdout: Stream,
    stderr: Stream,
    /// What stdout can show.
    pub(crate) out: Surface,
    /// What stderr can show.
    pub(crate) err: Surface,
    form: OutputForm,
    quiet: bool,
    bars: MultiProgress,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer").field("form", &self.form).field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer to the streams of this process.
    pub(crate) fn new(flags: &GlobalArguments, environment: &Environment) -> Self {
        let width = terminal_size::terminal_size_of(io::stdout())
            .or_else(|| terminal_size::terminal_size_of(io::stderr()))
            .map(|(width, _)| usize::from(width.0));
        let surface = |is_terminal: bool| Surface {
            palette: Palette::new(shows_colors(flags.color, is_terminal, environment)),
            width: width.filter(|w| is_terminal && *w > 0),
            is_terminal,
        };
        Self {
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            out: surface(io::stdout().is_terminal()),
            err: surface(io::stderr().is_terminal()),
            form: flags.output,
            quiet: flags.quiet,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// The form of the result.
    pub(crate) fn form(&self) -> OutputForm {
        self.form
    }

    /// Whether the result is for people.
    pub(crate) fn is_human(&self) -> bool {
        self.form == OutputForm::Human
    }

    /// Whether only errors are said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes a result, with a line end after it when it has none.
    ///
    /// # Errors
    /// Those of stdout; a reader that has gone away is [`io::ErrorKind::BrokenPipe`].
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        let end: &[u8] = if text.is_empty() || text.ends_with('\n') { b"" } else { b"\n" };
        self.result_bytes(text.as_bytes())?;
        self.result_bytes(end)
    }

    /// Writes a part of a result, for results that are too large to be made at once.
    ///
    /// # Errors
    /// As [`Printer::result`].
    pub(crate) fn result_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(bytes).and_then(|()| out.flush())
    }

    /// Writes a result as one JSON document.
    ///
    /// # Errors
    /// As [`Printer::result`].
    pub(crate) fn json<T: Serialize + ?Sized>(&self, value: &T) -> io::Result<()> {
        self.result(&serde_json::to_string_pretty(value)?)
    }

    /// Talk. Silent when only errors are wanted; nobody listening is no error.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.write_stderr(text);
        }
    }

    /// Advice, after a line `hint:`.
    pub(crate) fn hint(&self, text: &str) {
        self.say(&format!("{} {text}", self.err.palette.paint(Tone::Strong, "hint:")));
    }

    /// What must be said even when quiet.
    pub(crate) fn error(&self, text: &str) {
        self.write_stderr(text);
    }

    fn write_stderr(&self, text: &str) {
        write_beside(&self.bars, &self.stderr, text);
    }

    /// Whether moving progress may be drawn.
    pub(crate) fn draws_progress(&self) -> bool {
        self.err.is_terminal && !self.quiet && self.is_human()
    }

    /// Where progress bars are added; they are drawn once [`Printer::show_bars`] was called.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Starts to draw progress bars on stderr.
    pub(crate) fn show_bars(&self) {
        self.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND));
    }

    /// Takes the progress bars off the terminal.
    pub(crate) fn hide_bars(&self) {
        // A terminal that cannot be cleared is no reason to fail.
        let _ = self.bars.clear();
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    #[cfg(test)]
    pub(crate) fn captured(form: OutputForm, out: Surface) -> (Arc<Self>, Captured) {
        let captured = Captured::default();
        let printer = Self {
            stdout: Mutex::new(Box::new(Sink(captured.stdout.clone()))),
            stderr: Mutex::new(Box::new(Sink(captured.stderr.clone()))),
            out,
            err: Surface::default(),
            form,
            quiet: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        };
        (Arc::new(printer), captured)
    }

    #[cfg(test)]
    pub(crate) fn quietly(printer: Arc<Self>) -> Arc<Self> {
        Arc::new(Self { quiet: true, ..Arc::into_inner(printer).unwrap() })
    }
}

/// Writes whole lines without running into progress bars. Nobody listening is no error.
fn write_beside(bars: &MultiProgress, stream: &Stream, text: &str) {
    bars.suspend(|| {
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let _ = stream.write_all(format!("{text}{end}").as_bytes()).and_then(|()| stream.flush());
    });
}

/// A flag wins over `NO_COLOR`, and both win over what the terminal can do.
fn shows_colors(choice: ColorChoice, is_terminal: bool, environment: &Environment) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            is_terminal && environment.setting("NO_COLOR").is_none() && environment.setting("TERM") != Some("dumb")
        }
    }
}

/// Lines of the log, written between the progress bars.
#[derive(Debug, Clone)]
pub(crate) struct LogLines(pub(crate) Arc<Printer>);

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_stderr(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[derive(Default)]
pub(crate) struct Captured {
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

#[cfg(test)]
impl Captured {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
struct Sink(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flag_then_no_color_then_the_terminal() {
        let plain = Environment::default();
        let no_color = Environment::of(&[("NO_COLOR", "1")], &[]);
        assert!(shows_colors(ColorChoice::Auto, true, &plain));
        assert!(!shows_colors(ColorChoice::Auto, false, &plain));
        assert!(!shows_colors(ColorChoice::Auto, true, &no_color));
        assert!(shows_colors(ColorChoice::Always, false, &no_color));
        assert!(!shows_colors(ColorChoice::Never, true, &plain));
        assert!(!shows_colors(ColorChoice::Auto, true, &Environment::of(&[("TERM", "dumb")], &[])));
    }

    #[test]
    fn results_and_talk_go_to_different_streams() {
        let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
        printer.result("rows").unwrap();
        printer.say("done");
        printer.hint("look");
        assert_eq!((captured.stdout().as_str(), captured.stderr().as_str()), ("rows\n", "done\nhint: look\n"));
    }

    #[test]
    fn quiet_keeps_errors_and_results() {
        let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
        let printer = Printer::quietly(printer);
        printer.say("done");
        printer.hint("look");
        printer.error("error: broken");
        printer.result("rows").unwrap();
        assert_eq!((captured.stdout().as_str(), captured.stderr().as_str()), ("rows\n", "error: broken\n"));
    }
}
