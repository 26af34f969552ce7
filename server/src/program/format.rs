//! What a line of the log looks like: as tracing-subscriber writes it, for a third of the instructions.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::mem;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::VisitOutput as _;
use tracing_subscriber::fmt::format::{DefaultVisitor, Format, Full, Writer, format};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The time in RFC 3339, UTC, with its microseconds; all before them is kept for the lines of the same second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock;

/// As in 2026-11-22T08:00:00.000000Z.
const TIME_BYTES: usize = 27;
const MICROSECONDS: Range<usize> = 20..26;

thread_local! {
    /// The last second, since 1970, and how it is written.
    static SECOND: Cell<(u64, [u8; TIME_BYTES])> = const { Cell::new((u64::MAX, [0; TIME_BYTES])) };
}

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| fmt::Error)?;
        let text = written(now)?;
        writer.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn written(since_1970: Duration) -> Result<[u8; TIME_BYTES], fmt::Error> {
    let (mut second, mut text) = SECOND.get();
    if second != since_1970.as_secs() {
        second = since_1970.as_secs();
        text = written_second(second).ok_or(fmt::Error)?;
        SECOND.set((second, text));
    }
    let mut rest = since_1970.subsec_micros();
    for digit in text[MICROSECONDS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    Ok(text)
}

/// `None`: a year beyond 9999.
fn written_second(since_1970: u64) -> Option<[u8; TIME_BYTES]> {
    let at = OffsetDateTime::from_unix_timestamp(since_1970.try_into().ok()?).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000Z");
    text.into_bytes().try_into().ok()
}

/// Lines for humans. One on a terminal, with its colours, or in a span is left to the library.
#[derive(Debug)]
pub(super) struct Human<T> {
    time: T,
    library: Format<Full, T>,
}

impl<T: Copy> Human<T> {
    pub(super) fn new(time: T) -> Self {
        Human { time, library: format().with_timer(time).with_target(false) }
    }
}

impl<S, N, T> FormatEvent<S, N> for Human<T>
where
    T: FormatTime,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if writer.has_ansi_escapes() || context.event_scope().is_some() {
            return self.library.format_event(context, writer, event);
        }
        if self.time.format_time(&mut writer).is_err() {
            writer.write_str("<unknown time>")?;
        }
        writer.write_str(match *event.metadata().level() {
            Level::ERROR => " ERROR ",
            Level::WARN => "  WARN ",
            Level::INFO => "  INFO ",
            Level::DEBUG => " DEBUG ",
            Level::TRACE => " TRACE ",
        })?;
        let mut visitor = Visitor { writer: writer.by_ref(), is_first: true, result: Ok(()) };
        event.record(&mut visitor);
        visitor.result?;
        writer.write_char('\n')
    }
}

/// Writes the message and the fields.
struct Visitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn record(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        if name == "message" {
            return write_escaped(&mut self.writer, value);
        }
        self.writer.write_str(name)?;
        write!(self.writer, "={value:?}")
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if self.result.is_ok() {
            let mut visitor = DefaultVisitor::new(self.writer.by_ref(), mem::take(&mut self.is_first));
            visitor.record_error(field, value);
            self.result = visitor.finish();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // What begins so is where a line of the crate `log` comes from.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.record(field.name(), value);
        }
    }
}

thread_local! {
    /// Room for a message.
    static MESSAGE: Cell<String> = const { Cell::new(String::new()) };
}
/// A longer one leaves no more room behind.
const MAX_KEPT_BYTES: usize = 1024;

/// What is in a message cannot command a terminal. It is looked at as a whole, and mostly is plain text; the library does it by
/// the character.
fn write_escaped(writer: &mut Writer<'_>, message: &dyn Debug) -> fmt::Result {
    let mut text = MESSAGE.take();
    let written = write!(text, "{message:?}").and_then(|()| {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_str(&text);
        }
        text.chars().try_for_each(|c| match c {
            // Those of C0 that terminals obey.
            '\x1b' | '\x07' | '\x08' | '\x0c' | '\x7f' => write!(writer, "\\x{:02x}", u32::from(c)),
            // C1.
            '\u{80}'..='\u{9f}' => write!(writer, "\\u{{{:x}}}", u32::from(c)),
            _ => writer.write_char(c),
        })
    });
    text.clear();
    text.shrink_to(MAX_KEPT_BYTES);
    MESSAGE.set(text);
    written
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing::{info, subscriber, warn};
    use tracing_subscriber::fmt::format::DefaultFields;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Registry, fmt};

    use super::*;

    fn at(second: u64, microsecond: u32) -> String {
        let text = written(Duration::new(second, microsecond * 1000 + 999)).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn a_time_is_written_to_the_microsecond() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.000007Z");
        assert_eq!(at(951_782_400, 120_030), "2000-02-29T00:00:00.120030Z");
        assert_eq!(at(253_402_300_799, 1), "9999-12-31T23:59:59.000001Z");
        assert!(written(Duration::from_secs(253_402_300_800)).is_err(), "five digits");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
    }

    #[test]
    fn times_are_those_of_the_library() {
        let text = |clock: &dyn FormatTime| {
            let mut text = String::new();
            clock.format_time(&mut Writer::new(&mut text)).unwrap();
            text
        };
        let library = || text(&fmt::time::SystemTime);
        for _ in 0..1000 {
            let times = [library(), text(&Clock), library()];
            assert!(times.is_sorted() && times[1].len() == times[0].len(), "{times:?}");
        }
    }

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shown {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown<E>(event: E, ansi: bool, say: impl FnOnce()) -> String
    where
        E: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
    {
        let shown = Shown::default();
        let out = shown.clone();
        let layer = fmt::layer().with_ansi(ansi).event_format(event).with_writer(move || out.clone());
        subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let bytes = mem::take(&mut *shown.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer {0}")]
    struct Outer(String, #[source] io::Error);

    fn say(text: &str) {
        let error = Outer(text.to_string(), io::Error::other(text.to_string()));
        let error: &(dyn Error + 'static) = &error;
        info!("said: {text}");
        info!(player = 7, said = ?text, text, other = %text, "said: {text:?} {text}");
        info!(log.left_out = text, text, error, flag = true);
        tracing::error!(r#type = 1, "");
        tracing::debug!(error);
        tracing::trace!("{text}");
        warn!(error, "{error}");
        warn!(message = text);
        warn!(text, message = text, third = ?Some(text));
        let span = tracing::info_span!("span", text, number = 1.5);
        span.in_scope(|| info!("inside"));
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_library(text in "[\\x00-\\x20\\x7e-\\xa1a-c€]{0,12}", ansi: bool) {
            let library = shown(format().with_timer(()).with_target(false), ansi, || say(&text));
            prop_assert_eq!(shown(Human::new(()), ansi, || say(&text)), library);
        }
    }

    #[test]
    fn nobody_commands_the_terminal() {
        let line = shown(Human::new(()), false, || info!("a\x1b[31m\x07b\u{9b}c\té"));
        assert_eq!(line, "  INFO a\\x1b[31m\\x07b\\u{9b}c\té\n");
        for c in '\0'..='\u{a0}' {
            let library = shown(format().with_timer(()).with_target(false), false, || info!("{c}"));
            assert_eq!(shown(Human::new(()), false, || info!("{c}")), library);
        }
    }

    #[test]
    fn what_is_shown_may_itself_have_something_to_say() {
        struct Tells;

        impl Debug for Tells {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut inner = String::new();
                write_escaped(&mut Writer::new(&mut inner), &"a")?;
                write!(f, "[{inner}]")
            }
        }

        let mut outer = String::new();
        write_escaped(&mut Writer::new(&mut outer), &[Tells, Tells]).unwrap();
        assert_eq!(outer, "[[\"a\"], [\"a\"]]");
    }

    #[test]
    fn a_long_message_leaves_no_room_behind() {
        let long = "x".repeat(100 * MAX_KEPT_BYTES);
        assert!(shown(Human::new(()), false, || info!("{long}")).contains(&long));
        let room = MESSAGE.take();
        assert!(room.is_empty() && room.capacity() <= MAX_KEPT_BYTES);
    }
}
