//! Packets that come later or in another order: the kernel hands their numbers to this program through a
//! netfilter queue (NFQUEUE) of a node's network namespace, and each goes on when the program says so.
//! There is no netem in every kernel; this needs none.
//!
//! Never sees what is in a packet. Ends with its thread, its holder or its process, whichever is first, and
//! then packets go on at once.

mod wire;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, sendto,
    socket_with, sockopt,
};
use xtask::cluster::Place;

use super::catalogue::Delay;

/// The number of the queue; nobody else has one in these namespaces.
pub(crate) const QUEUE: u16 = 77;
/// How long the program waits for a packet before it looks who is due.
const LOOK: Duration = Duration::from_millis(1);
/// Room for what the kernel has to say, in bytes: with less it drops packets of its own accord.
const ROOM_BYTES: usize = 8 << 20;

/// What the program did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Delayed {
    /// Packets that went through it.
    pub(crate) packets: u64,
    /// Those that a later one overtook.
    pub(crate) overtaken: u64,
    /// How long all of them together were held.
    pub(crate) held: Duration,
}

/// The program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Delayer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Delayed>>>,
}

impl Delayer {
    /// Starts it at a place; it is ready when this returns.
    pub(crate) fn start(place: Place, delay: Delay, seed: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, (ready, is_ready)) = (Arc::clone(&stop), std::sync::mpsc::sync_channel(1));
        let thread = std::thread::spawn(move || {
            let opened = open(place);
            let told = opened.as_ref().map(drop).map_err(|error| anyhow!("{error:#}"));
            // Whoever started it may be gone.
            let _ = ready.send(told);
            hold(&opened?, Schedule::new(delay, seed), &stopped)
        });
        let delayer = Self { stop, thread: Some(thread) };
        is_ready.recv().context("the program that delays packets ended at once")??;
        Ok(delayer)
    }

    /// Ends it and gives what it did.
    pub(crate) fn end(mut self) -> Result<Delayed> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("it ended before")?;
        thread.join().map_err(|_| anyhow!("the program that delays packets broke"))?
    }
}

impl Drop for Delayer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Moves this thread to a place's network namespace and binds the queue there.
fn open(place: Place) -> Result<OwnedFd> {
    let file = format!("/run/netns/{}", place.netns());
    let netns = File::open(&file).with_context(|| format!("cannot open {file}"))?;
    let network = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(netns.as_fd(), Some(network))
        .context("cannot enter the network namespace")?;
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))
        .context("the kernel has no netfilter sockets")?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    sockopt::set_socket_recv_buffer_size_force(&socket, ROOM_BYTES)?;
    for message in wire::configuration(QUEUE) {
        ask(&socket, &message)?;
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LOOK))?;
    Ok(socket)
}

fn tell(socket: &OwnedFd, message: &[u8]) -> Result<()> {
    sendto(socket, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// Tells something and waits for the kernel's word on it.
fn ask(socket: &OwnedFd, message: &[u8]) -> Result<()> {
    tell(socket, message)?;
    let mut buffer = vec![0; 4096];
    let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
    let answer = buffer.get(..length).unwrap_or_default();
    let errors: Vec<_> = wire::errors(answer).collect();
    ensure!(errors == [0], "the kernel refuses the queue: {errors:?}");
    Ok(())
}

fn hold(socket: &OwnedFd, mut schedule: Schedule, stop: &AtomicBool) -> Result<Delayed> {
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Acquire) {
        match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => {
                let now = Instant::now();
                let message = buffer.get(..length).unwrap_or_default();
                wire::packets(message).for_each(|id| schedule.add(id, now));
            }
            // Nothing came; or more than there is room for, and the kernel dropped some.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {
            }
            Err(error) => return Err(error).context("the queue broke"),
        }
        while let Some(id) = schedule.next_due(Instant::now()) {
            tell(socket, &wire::pass(QUEUE, id))?;
        }
    }
    // With the socket's end the kernel drops what it still holds, so all of it goes on before.
    while let Some(id) = schedule.take() {
        tell(socket, &wire::pass(QUEUE, id))?;
    }
    Ok(schedule.done)
}

/// When each packet goes on. Pure but for the instants that it is given.
#[derive(Debug)]
struct Schedule {
    delay: Delay,
    random: fastrand::Rng,
    /// When it is due, its place in the order of arrival, its number, when it came.
    waiting: BinaryHeap<Reverse<(Instant, u64, u32, Instant)>>,
    arrived: u64,
    /// Packets that are not held back keep their order.
    last_due: Option<Instant>,
    /// The highest place in the order of arrival that went on.
    farthest: u64,
    done: Delayed,
}

impl Schedule {
    fn new(delay: Delay, seed: u64) -> Self {
        Self {
            delay,
            random: fastrand::Rng::with_seed(seed),
            waiting: BinaryHeap::new(),
            arrived: 0,
            last_due: None,
            farthest: 0,
            done: Delayed::default(),
        }
    }

    fn add(&mut self, id: u32, now: Instant) {
        self.arrived += 1;
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let in_order = now + ms(self.delay.ms) + ms(self.random.u32(0..=self.delay.jitter_ms));
        let in_order = self.last_due.map_or(in_order, |last| last.max(in_order));
        self.last_due = Some(in_order);
        let held = self.random.u32(0..100) < self.delay.held_percent;
        let due = if held { in_order + ms(self.delay.held_ms) } else { in_order };
        self.waiting.push(Reverse((due, self.arrived, id, now)));
    }

    /// The next packet that is due.
    fn next_due(&mut self, now: Instant) -> Option<u32> {
        let Reverse((due, ..)) = self.waiting.peek()?;
        if *due > now { None } else { self.take_at(now) }
    }

    /// The next packet, due or not.
    fn take(&mut self) -> Option<u32> {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> Option<u32> {
        let Reverse((_, place, id, came)) = self.waiting.pop()?;
        self.done.packets += 1;
        self.done.held += now.saturating_duration_since(came);
        self.done.overtaken += u64::from(place < self.farthest);
        self.farthest = self.farthest.max(place);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(delay: Delay, packets: u32) -> (Vec<u32>, Delayed) {
        let (mut schedule, start) = (Schedule::new(delay, 1), Instant::now());
        let (mut passed, mut now) = (Vec::new(), start);
        for id in 0..packets {
            now = start + Duration::from_millis(id.into());
            schedule.add(id, now);
            passed.extend(std::iter::from_fn(|| schedule.next_due(now)));
        }
        now += Duration::from_secs(1);
        passed.extend(std::iter::from_fn(|| schedule.next_due(now)));
        (passed, schedule.done)
    }

    #[test]
    fn latency_keeps_the_order() {
        let delay = Delay { ms: 100, jitter_ms: 20, held_percent: 0, held_ms: 0 };
        let (passed, done) = run(delay, 500);
        assert_eq!(passed, (0..500).collect::<Vec<_>>());
        assert_eq!((done.packets, done.overtaken), (500, 0));
        assert!(done.held >= Duration::from_millis(500 * 100), "{done:?}");
    }

    #[test]
    fn those_that_are_held_back_are_overtaken() {
        let delay = Delay { ms: 0, jitter_ms: 0, held_percent: 20, held_ms: 40 };
        let (mut passed, done) = run(delay, 500);
        assert!((50..150).contains(&done.overtaken), "{done:?}");
        assert_ne!(passed, (0..500).collect::<Vec<_>>());
        passed.sort_unstable();
        assert_eq!(passed, (0..500).collect::<Vec<_>>(), "and none is lost");
    }
}
