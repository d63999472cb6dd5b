//! The devices of a run: their accounts, made or taken from a file, and their connections.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iris_client::store::{HistoryMax, MemoryStore, State, Store as _};
use iris_client::{
    Client, ClientError, Connector, Credentials, EdgeAddr, Event, Handle, Handler as _, Options,
    Stop, register,
};
use iris_core::id::AccountId;
use iris_runtime::task::Tasks;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::failure::{Failure, unreachable_hint};
use crate::output::Output;

use super::SoakArgs;
use super::board::{Board, Reporter, Standing};
use super::groups::Plan;
use super::schedule::Roles;
use super::store::{Account, SoakStore};

/// For how long a server that cannot now is asked again to make an account.
const PATIENCE: Duration = Duration::from_secs(120);

/// After so many new accounts the file is written.
const KEPT: usize = 5_000;

/// One device of the run.
pub(super) struct Device {
    pub(super) account: AccountId,
    pub(super) kept: Arc<Mutex<Account>>,
}

/// A device that is connected.
pub(super) struct Connected {
    running: Running,
    pub(super) handle: Handle,
}

enum Running {
    /// Its events are handled as they come.
    Quick(Client),
    /// A task takes its events one after another.
    Slow(Tasks),
}

impl Connected {
    /// Ends the device.
    pub(super) async fn close(self) -> Result<(), ClientError> {
        match self.running {
            Running::Quick(client) => client.close().await,
            Running::Slow(task) => {
                task.stop();
                task.ended().await;
                Ok(())
            }
        }
    }
}

/// How long a slow device takes for a message; nothing once it shall hurry.
pub(super) type Pause = watch::Receiver<Option<Duration>>;

/// Random bytes in letters, for names and passwords.
pub(super) fn random_name() -> Result<(String, u64), Failure> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new("the system gives no random bytes"))?;
    Ok((HEXLOWER.encode(&bytes), u64::from_be_bytes(bytes)))
}

/// The devices of a run: those of the file first, then new ones.
pub(super) async fn gather(
    output: &mut Output,
    connector: &Connector,
    args: &SoakArgs,
    run: &str,
) -> Result<Vec<Device>, Failure> {
    let wanted = Plan::of(args).accounts();
    let mut accounts = match &args.accounts_file {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    accounts.truncate(wanted);
    let known = accounts.len();
    if known < wanted {
        let began = Instant::now();
        let concurrency = usize::from(args.concurrency);
        output.note(&format!("{} accounts are made, {concurrency} at a time", wanted - known));
        let mut making = stream::iter(known..wanted)
            .map(|n| make(connector, format!("soak-{run}-{n}"), run))
            .buffer_unordered(concurrency);
        while let Some(account) = making.try_next().await? {
            accounts.push(account);
            if accounts.len().is_multiple_of(100) {
                output.note(&format!("{} of {wanted} accounts", accounts.len()));
            }
            // Whoever interrupts a run that makes a hundred thousand of them has those that were made.
            if let Some(path) =
                args.accounts_file.as_ref().filter(|_| accounts.len().is_multiple_of(KEPT))
            {
                write(path, &accounts)?;
            }
        }
        output.note(&format!("made in {:.1} s", began.elapsed().as_secs_f64()));
        drop(making);
        if let Some(path) = &args.accounts_file {
            write(path, &accounts)?;
        }
    }
    let devices = accounts.into_iter().map(|account| {
        let id = account.account.parse();
        let id = id.map_err(|_| Failure::new("an account in the accounts file is damaged"))?;
        Ok(Device { account: id, kept: Arc::new(Mutex::new(account)) })
    });
    devices.collect()
}

async fn make(connector: &Connector, handle: String, password: &str) -> Result<Account, Failure> {
    let who = Credentials::new(&handle, password, "soak");
    let until = Instant::now() + PATIENCE;
    loop {
        match register(connector, MemoryStore::new(HistoryMax::NONE), &who).await {
            Ok(store) => {
                let missing = || Failure::new("the server made no account");
                return Account::of(store.state()).ok_or_else(missing);
            }
            Err(ClientError::TryLater { retry_after_ms, .. }) if Instant::now() < until => {
                let jitter = jitter_ms(retry_after_ms.max(100));
                sleep(Duration::from_millis(u64::from(retry_after_ms) + jitter)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// So that those who were told the same do not come back together.
fn jitter_ms(upto: u32) -> u64 {
    let mut byte = [0; 1];
    // Without randomness they do.
    let _filled = aws_lc_rs::rand::fill(&mut byte).is_ok();
    u64::from(byte[0]) * u64::from(upto) / 256
}

/// Opens every device and waits until the server serves all of them.
pub(super) async fn connect(
    connector: &Connector,
    args: &SoakArgs,
    board: &Arc<Board>,
    devices: &[Device],
    pause: &Pause,
) -> Result<Vec<Connected>, Failure> {
    let until = Instant::now() + args.connect_timeout;
    let (pairs, roles) = (args.pairs as usize * 2, Roles::of(args));
    let there = Plan::of(args).connected;
    let opening = (0..there).map(|n| {
        let partner = (n < pairs).then(|| devices[n ^ 1].account);
        let pause = roles.is_slow(n).then_some(pause);
        open(connector, board, &devices[n], (n, there, partner, pause), until)
    });
    stream::iter(opening).buffered(usize::from(args.concurrency) * 4).try_collect().await
}

async fn open(
    connector: &Connector,
    board: &Arc<Board>,
    device: &Device,
    (n, count, partner, pause): (usize, usize, Option<AccountId>, Option<&Pause>),
    until: Instant,
) -> Result<Connected, Failure> {
    let damaged = || Failure::new("an account in the accounts file is damaged").hint(FRESH);
    let mut state = device.kept.lock().state().ok_or_else(damaged)?;
    loop {
        let (standing, watched) = watch::channel(Standing::Away("no answer".to_owned()));
        let is_slow = pause.is_some();
        let reporter = Reporter { board: Arc::clone(board), device: n, partner, standing, is_slow };
        let connected = start(connector, device, state.clone(), (reporter, pause), n)?;
        match serving(watched, until).await {
            Ok(()) => return Ok(connected),
            // The file is older than what the last run did: the server's number is the one to go on with.
            Err(Standing::Stopped(Stop::StateTooOld { expected, .. })) => {
                connected.close().await?;
                state.next_client_seq = expected;
            }
            Err(Standing::Stopped(stop)) => {
                return Err(
                    Failure::new(format!("{}: {stop}", device.kept.lock().handle)).hint(FRESH)
                );
            }
            Err(Standing::Away(words)) => {
                let error = format!("device {n} of {count} could not connect in time: {words}");
                return Err(Failure::new(error).hint(unreachable_hint(&words)));
            }
            Err(Standing::Connected) => return Err(Failure::new("the client ended")),
        }
    }
}

const FRESH: &str = "accounts of another server, or too old: name another --accounts-file";

fn start(
    connector: &Connector,
    device: &Device,
    state: State,
    (mut reporter, pause): (Reporter, Option<&Pause>),
    n: usize,
) -> Result<Connected, Failure> {
    let edges: &[EdgeAddr] = connector.edges();
    // Both of a pair meet different edges where there are several.
    let edge = edges.get(n % edges.len().max(1)).cloned();
    let store = SoakStore::new(state, Arc::clone(&device.kept));
    let Some(pause) = pause else {
        let handler: Option<Box<dyn iris_client::Handler>> = Some(Box::new(reporter));
        let client =
            Client::open(connector, store, Options { handler, edge, ..Options::default() })?;
        return Ok(Connected { handle: client.handle(), running: Running::Quick(client) });
    };
    let mut client = Client::open(connector, store, Options { edge, ..Options::default() })?;
    let (handle, mut pause) = (client.handle(), pause.clone());
    let task = Tasks::new();
    task.spawn("slow reader", async move {
        while let Some(event) = client.next().await {
            let is_place = matches!(event, Event::Placed(_));
            reporter.event(event);
            let longest = *pause.borrow_and_update();
            if let (true, Some(longest)) = (is_place, longest) {
                // Whoever shall hurry does so at once. Nobody says so any more after a run's end.
                let _hurries = timeout(longest, pause.changed()).await.is_ok();
            }
        }
    });
    Ok(Connected { running: Running::Slow(task), handle })
}

async fn serving(mut standing: watch::Receiver<Standing>, until: Instant) -> Result<(), Standing> {
    let settled = async {
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Away(_)));
        settled.await.map(|found| found.clone())
    };
    match timeout_at(until, settled).await {
        Ok(Ok(Standing::Connected)) => Ok(()),
        Ok(Ok(found)) => Err(found),
        Ok(Err(_)) => Err(Standing::Away("the client ended".to_owned())),
        Err(_) => Err(standing.borrow().clone()),
    }
}

fn read(path: &Path) -> Result<Vec<Account>, Failure> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())).hint(FRESH)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}

/// Keeps what a later run needs, beside the accounts in the file that this run did not use.
pub(super) fn keep(path: &Path, devices: &[Device]) -> Result<(), Failure> {
    let mut accounts: Vec<_> = devices.iter().map(|device| device.kept.lock().clone()).collect();
    accounts.extend(read(path)?.into_iter().skip(devices.len()));
    write(path, &accounts)
}

/// They are secrets.
fn write(path: &Path, accounts: &[Account]) -> Result<(), Failure> {
    let written = || {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let new = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(accounts)?)?;
        fs::rename(&new, path)
    };
    written().map_err(|error: io::Error| Failure::new(format!("{}: {error}", path.display())))
}
