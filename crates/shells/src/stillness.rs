//! Processes that stand still for a while and go on, as after a SIGSTOP.
//!
//! turmoil lets time pass on every host alike. So whatever a process does passes here: its tasks are not
//! polled, its connections neither read nor write, no answer of the database or of etcd comes back to it,
//! its clock stands. What others send to it waits, as in a kernel. When it goes on everything is there
//! at once, and all its timers are due.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use iris_core::clock::Now;
use iris_runtime::task::Pace;
use parking_lot::Mutex;
use tokio::sync::Notify;
use turmoil::net::TcpStream;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Stillness {
    /// Asked at every poll, so apart from the rest.
    still: AtomicBool,
    state: Mutex<State>,
    /// It went on, and connections were left behind.
    went_on: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What its clock said when it stopped.
    since: Option<Now>,
    /// When it last went on.
    went_on: Option<Duration>,
    /// Whoever wanted to do something meanwhile.
    waiting: Vec<Waker>,
    /// Connections that libraries gave up meanwhile, by timers of their own: nobody hears of that
    /// before the process goes on.
    left: Vec<TcpStream>,
}

impl Stillness {
    pub(crate) fn stand_still(&self, now: Now) {
        self.state.lock().since = Some(now);
        self.still.store(true, Ordering::Release);
    }

    pub(crate) fn go_on(&self, at: Duration) {
        let mut state = self.state.lock();
        state.since = None;
        state.went_on = Some(at);
        self.still.store(false, Ordering::Release);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // In the order in which they came, so that a seed does the same again.
        waiting.into_iter().for_each(Waker::wake);
        self.went_on.notify_one();
    }

    /// What the process takes for the time, while it stands still.
    pub(crate) fn since(&self) -> Option<Now> {
        if self.still.load(Ordering::Acquire) { self.state.lock().since } else { None }
    }

    /// When the process last went on.
    pub(crate) fn went_on(&self) -> Option<Duration> {
        self.state.lock().went_on
    }

    /// Waits while the process stands still.
    pub(crate) async fn going(&self) {
        poll_fn(|context| self.poll_going(context)).await;
    }

    /// Keeps a connection that is dropped while the process stands still.
    pub(crate) fn leave(&self, stream: TcpStream) {
        if self.still.load(Ordering::Acquire) {
            self.state.lock().left.push(stream);
        }
    }

    /// Closes what was left behind whenever the process goes on. On its host, where alone that is heard.
    pub(crate) async fn sweep(&self) {
        loop {
            self.went_on.notified().await;
            let left = std::mem::take(&mut self.state.lock().left);
            drop(left);
        }
    }
}

impl Pace for Stillness {
    fn poll_going(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.still.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut state = self.state.lock();
        if !state.waiting.iter().any(|waiting| waiting.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use iris_core::clock::{MonoUs, WallMs};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::network::HostStream;

    const PORT: u16 = 7;

    /// Echoes what comes over one connection, and counts what it hears.
    async fn echo(stillness: Arc<Stillness>, heard: Arc<AtomicU64>) -> turmoil::Result {
        let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (stream, _) = listener.accept().await?;
        let mut stream = HostStream::new(stream, stillness);
        loop {
            let byte = stream.read_u8().await?;
            heard.fetch_add(1, Ordering::Relaxed);
            stream.write_u8(byte).await?;
        }
    }

    fn step_to(sim: &mut turmoil::Sim<'_>, upto: u64) {
        while sim.elapsed() < Duration::from_millis(upto) {
            assert!(!sim.step().unwrap(), "it ended early");
        }
    }

    #[test]
    fn a_host_that_stands_still_hears_nothing_and_later_everything() {
        let (stillness, heard) = (Arc::<Stillness>::default(), Arc::<AtomicU64>::default());
        let latency = Duration::from_millis(1);
        let mut sim = turmoil::Builder::new().max_message_latency(latency).build();
        let (still, count) = (Arc::clone(&stillness), Arc::clone(&heard));
        sim.host("echo", move || echo(Arc::clone(&still), Arc::clone(&count)));
        sim.client("people", async {
            let mut stream = TcpStream::connect(("echo", PORT)).await?;
            for byte in 0..20 {
                stream.write_u8(byte).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            for byte in 0..20 {
                assert_eq!(stream.read_u8().await?, byte);
            }
            Ok(())
        });
        step_to(&mut sim, 450);
        assert!(heard.load(Ordering::Relaxed) >= 3);
        stillness.stand_still(Now { wall: WallMs(450), mono: MonoUs(450_000) });
        let before = heard.load(Ordering::Relaxed);
        step_to(&mut sim, 1_500);
        assert_eq!(heard.load(Ordering::Relaxed), before);
        assert_eq!(stillness.since().map(|now| now.wall), Some(WallMs(450)));
        stillness.go_on(sim.elapsed());
        step_to(&mut sim, 1_600);
        assert!(heard.load(Ordering::Relaxed) >= 13, "it did not catch up");
        while !sim.step().unwrap() {}
    }
}
