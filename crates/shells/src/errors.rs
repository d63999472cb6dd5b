//! What the hosts of a world say at ERROR: that somebody must act.
//!
//! In a world nobody can act, and nothing there should need it, whatever breaks. So each is a failure of
//! the world, but for those that are known to belong to a fault.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::ground::elapsed;

/// Errors that faults bring about. A session that is fenced ends the task that reads its fence, and that
/// the process ends with it is the point.
const EXPECTED: &[&str] = &["a critical task ended task=\"fence\""];

/// Listens to everybody on this thread, until it is dropped.
pub(crate) struct Errors {
    heard: Heard,
    _guard: DefaultGuard,
}

/// How often each host said each thing.
type Heard = Arc<Mutex<BTreeMap<(String, String), u64>>>;

impl Errors {
    /// Shows what is said at `shown` and above as it is said.
    pub(crate) fn listen(shown: LevelFilter) -> Self {
        let heard = Heard::default();
        let ear = Ear {
            heard: Arc::clone(&heard),
            shown,
            hosts: Mutex::default(),
            current: AtomicU64::new(0),
        };
        Self { heard, _guard: tracing::subscriber::set_default(ear) }
    }

    /// What was said, and that nothing in a world brings about.
    pub(crate) fn unexpected(&self) -> Vec<String> {
        let heard = self.heard.lock();
        let line = |((host, text), times): (&(String, String), &u64)| match times {
            1 => format!("{host}: {text}"),
            _ => format!("{host}, {times} times: {text}"),
        };
        let unexpected = heard.iter().filter(|((_, text), _)| !is_expected(text));
        unexpected.map(line).collect()
    }
}

fn is_expected(text: &str) -> bool {
    EXPECTED.iter().any(|expected| text.starts_with(expected))
}

struct Ear {
    heard: Heard,
    shown: LevelFilter,
    /// Those that ever ran; the span of one has the number of its place here.
    hosts: Mutex<Vec<String>>,
    /// The span of the host that runs; 0 while none does. Hosts run one after another.
    current: AtomicU64,
}

impl Ear {
    fn host(&self) -> String {
        let number = usize::try_from(self.current.load(Ordering::Relaxed)).unwrap_or_default();
        let hosts = self.hosts.lock();
        let host = number.checked_sub(1).and_then(|at| hosts.get(at));
        host.map_or("nobody", String::as_str).to_owned()
    }
}

impl Subscriber for Ear {
    /// Of spans only those that turmoil has around what a host does.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            return metadata.name() == "node" && metadata.target().starts_with("turmoil");
        }
        *metadata.level() == Level::ERROR
            || (*metadata.level() <= self.shown && metadata.target().starts_with("iris"))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.shown.max(LevelFilter::INFO))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = Line::default();
        span.record(&mut name);
        let name = name.0.trim_start_matches("name=").trim_matches('"');
        let mut hosts = self.hosts.lock();
        let at = hosts.iter().position(|host| host == name).unwrap_or_else(|| {
            hosts.push(name.to_owned());
            hosts.len() - 1
        });
        Id::from_u64(at as u64 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let (level, host) = (*event.metadata().level(), self.host());
        if level <= self.shown {
            show(&host, level, &line.0);
        }
        if level == Level::ERROR {
            *self.heard.lock().entry((host, line.0)).or_default() += 1;
        }
    }

    fn enter(&self, span: &Id) {
        self.current.store(span.into_u64(), Ordering::Relaxed);
    }

    fn exit(&self, _: &Id) {
        self.current.store(0, Ordering::Relaxed);
    }
}

#[expect(clippy::print_stderr, reason = "somebody asked to see it")]
fn show(host: &str, level: Level, line: &str) {
    eprintln!("{:9.4} {host:<10} {level:<5} {line}", elapsed().as_secs_f64());
}

/// What is said, as a line: first the message, then fields.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let space = if self.0.is_empty() { "" } else { " " };
            self.0.insert_str(0, &format!("{value:?}{space}"));
            return;
        }
        let space = if self.0.is_empty() { "" } else { " " };
        // Nothing fails to be written to a string.
        let _ = write!(self.0, "{space}{}={value:?}", field.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_error_is_heard_unless_a_fault_brings_it_about() {
        let errors = Errors::listen(LevelFilter::OFF);
        tracing::warn!("that is nothing");
        tracing::error!(task = "fence", "a critical task ended");
        tracing::error!(task = "lane", "a critical task ended");
        tracing::error!(task = "lane", "a critical task ended");
        let wanted = "nobody, 2 times: a critical task ended task=\"lane\"";
        assert_eq!(errors.unexpected(), [wanted]);
    }

    #[test]
    fn it_is_known_which_host_says_something() {
        let errors = Errors::listen(LevelFilter::OFF);
        let mut sim = turmoil::Builder::new().build();
        sim.client("owner-7", async {
            tracing::error!(shard = 3, "lost");
            Ok(())
        });
        sim.run().unwrap();
        tracing::error!("over");
        assert_eq!(errors.unexpected(), ["nobody: over", "owner-7: lost shard=3"]);
    }
}
