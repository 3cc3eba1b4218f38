//! Log lines as the host reads them: one JSON object per line on standard error (hclog).
//!
//! A line whose `@timestamp` has another form is taken for text, and one whose `@message` or `@level` is no text stops the host:
//! both are built here and nowhere else. How much is logged is said in `levels`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::levels::Levels;
use crate::guard;

/// Longest text of one field: hosts read lines in pieces of 64 KiB.
const TEXT_MAX: usize = 8 * 1024;

/// Sends events to standard error as far as the host wants them, and panics too.
pub(super) fn install(levels: Levels) {
    let most = levels.most();
    let ours = FilterFn::new(move |meta| levels.allow(meta)).with_max_level_hint(most);
    // A second installation in one process keeps the first.
    let _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(Lines.with_filter(ours)),
    );
    std::panic::set_hook(Box::new(panicked));
}

/// What becomes of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panic {
    /// The engine answers with a message.
    Caught,
    /// A task of the provider's own; whoever waits for it sees it.
    InTask,
    /// Nobody could answer: the process ends, and the host shows why.
    Crash,
}

fn fate() -> Panic {
    if guard::is_guarded() {
        Panic::Caught
    } else if guard::is_in_request() || std::thread::current().name() == Some("main") {
        Panic::Crash
    } else {
        Panic::InTask
    }
}

/// A panic becomes one line, with a backtrace only where the person asks for one. One that ends the process is written as hosts
/// recognise crashes: a line that starts with `panic: `, and what follows it.
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let asked = backtrace.status() == BacktraceStatus::Captured;
    match fate() {
        Panic::Caught | Panic::InTask if asked => {
            tracing::error!(place, %backtrace, "provider code panicked: {text}");
        }
        Panic::Caught | Panic::InTask => tracing::error!(place, "provider code panicked: {text}"),
        Panic::Crash => {
            let trace = if asked {
                backtrace.to_string()
            } else {
                String::new()
            };
            // One write: lines of other threads do not come between.
            let _ = std::io::stderr().write_all(crash(text, &place, &trace).as_bytes());
            // As Go ends.
            std::process::exit(2);
        }
    }
}

/// The lines of a crash.
fn crash(text: &str, place: &str, backtrace: &str) -> String {
    format!("panic: {text}\n\nat {place}\n{backtrace}")
}

struct Lines;

/// Fields of a span, kept for its events.
struct Kept(Map<String, Json>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(Kept(fields.others));
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in cx.event_scope(event).into_iter().flatten() {
            if let Some(Kept(kept)) = span.extensions().get() {
                fields.others.extend(kept.clone());
            }
        }
        event.record(&mut fields);
        let text = line(event.metadata(), fields, SystemTime::now());
        // Nobody to tell if standard error is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

fn line(meta: &Metadata<'_>, fields: Fields, now: SystemTime) -> String {
    let level = match *meta.level() {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    };
    let mut object = fields.others;
    object.insert("@level".to_owned(), level.into());
    object.insert("@message".to_owned(), fields.message.into());
    object.insert(
        "@module".to_owned(),
        meta.target().replace("::", ".").into(),
    );
    object.insert("@timestamp".to_owned(), timestamp(now).into());
    format!("{}\n", Json::Object(object))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Json>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Json) {
        // Keys with "@" belong to the line itself.
        let name = field.name().trim_start_matches('@');
        match (name, value) {
            ("message", Json::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // Fails where the bound is reached.
        let _ = write!(text, "{value:?}");
        self.put(field, text.0.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// Text up to [`TEXT_MAX`] bytes.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_MAX.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room)
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        self.0.push_str(&text[..end]);
        Err(fmt::Error)
    }
}

/// `2006-01-02T15:04:05.000000Z`, the one form that hosts parse.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micros:06}Z")
}

/// Date of a day since 1970, in the Gregorian calendar counted from March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[test]
    fn timestamps_have_the_hosts_form() {
        let at = |s, us| timestamp(UNIX_EPOCH + Duration::from_secs(s) + Duration::from_micros(us));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(at(1_795_247_251, 999_999), "2026-11-21T07:47:31.999999Z");
        assert_eq!(at(4_102_444_799, 0), "2099-12-31T23:59:59.000000Z");
    }

    #[test]
    fn crashes_have_the_hosts_form() {
        insta::assert_snapshot!(crash("index out of bounds", "src/x.rs:7:1", "").trim_end(), @r"
        panic: index out of bounds

        at src/x.rs:7:1
        ");
    }

    /// Renders events as [`Lines`] does, into memory.
    struct Captured(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Captured {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let asked = [("TF_LOG".to_owned(), "debug".to_owned())];
            if !Levels::of("x/mine", &["mine"], asked).allow(event.metadata()) {
                return;
            }
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0
                .lock()
                .unwrap()
                .push(line(event.metadata(), fields, UNIX_EPOCH));
        }
    }

    #[test]
    fn lines_are_what_hosts_parse() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Captured(Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "mine::room", count = 3, machine = "b\n1", "hello {}", "there");
            tracing::info!(target: "h2::codec", "flood");
            tracing::warn!(target: "minefield", message = 5);
        });
        insta::assert_snapshot!(lines.lock().unwrap().concat(), @r#"
        {"count":3,"machine":"b\n1","@level":"info","@message":"hello there","@module":"mine.room","@timestamp":"1970-01-01T00:00:00.000000Z"}
        {"@level":"warn","@message":"5","@module":"minefield","@timestamp":"1970-01-01T00:00:00.000000Z"}
        "#);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut text = Bounded(String::new());
        assert!(write!(text, "a{}", "é".repeat(TEXT_MAX)).is_err());
        assert!(text.0.len() <= TEXT_MAX && text.0.len() > TEXT_MAX - 3);
    }
}
