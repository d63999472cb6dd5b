//! A device that is connected as long as it is open.

mod groups;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::rand;
use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::id::{AccountId, DeviceNo, MsgId};
use iris_core::mark::Mark;
use iris_core::message::{Address, Bodies};
use iris_core::relation::{Relations, Wish};
use iris_core::seq::ConvSeq;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::account::{self, Credentials};
use crate::clock::wall_ms;
use crate::connector::Connector;
use crate::driver::{Command, Decided, DecidedReply, Disk, Driver, Handler, Parts, Sink};
use crate::error::ClientError;
use crate::key::{DeviceKey, KeyError};
use crate::link::LinkCode;
use crate::net::EdgeAddr;
use crate::place::Place;
use crate::session::{
    CallAnswer, CallOp, CalledOff, Config, DeviceInfo, Draft, Event, Fetch, Input, Page, Readers,
    Session, Start,
};
use crate::store::{Login, State, Store};

pub use groups::new_group_id;

/// Commands that wait for the client's task.
const COMMANDS_MAX: usize = 32;
/// Events that wait for [`Client::next`], beside those that the credit bounds.
const EVENTS_MAX: usize = 64;
/// For how long a question is asked, across reconnects.
const CALL_PATIENCE_MS: u64 = 20_000;

/// How a client behaves.
#[derive(Default)]
pub struct Options {
    /// Credit, and the like.
    pub config: Config,
    /// Takes every event; without it they wait for [`Client::next`].
    pub handler: Option<Box<dyn Handler>>,
    /// The edge to try first; without it any of the connector's.
    pub edge: Option<EdgeAddr>,
}

/// A device, connected as long as this lives. Dropping it disconnects at once; [`Client::close`] waits
/// until everything is on the disk.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    _stop: DropGuard,
}

/// Sends and asks through a client; as many as wanted. They do not keep the client open.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    login: Arc<Login>,
}

/// What will become of a message: a future that ends when the server has decided. Dropping it changes
/// nothing for the message.
#[derive(Debug)]
pub struct Receipt {
    msg_id: MsgId,
    decided: oneshot::Receiver<DecidedReply>,
}

impl Client {
    /// Registers a new account with this device and opens it.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn register<S: Store>(
        connector: &Connector,
        store: S,
        who: &Credentials,
        options: Options,
    ) -> Result<Self, ClientError> {
        let store = account::register(connector, store, who).await?;
        Self::open(connector, store, options)
    }

    /// Adds this device to an account and opens it.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn login<S: Store>(
        connector: &Connector,
        store: S,
        who: &Credentials,
        options: Options,
    ) -> Result<Self, ClientError> {
        let store = account::login(connector, store, who).await?;
        Self::open(connector, store, options)
    }

    /// Opens a device that was registered or logged in before. It connects in the background and comes
    /// back by itself; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the store has no account.
    pub fn open<S: Store>(
        connector: &Connector,
        store: S,
        options: Options,
    ) -> Result<Self, ClientError> {
        let (start, login) = start(store.state())?;
        let refresh_token = store.state().tokens.as_ref().map(|tokens| tokens.refresh.clone());
        let key = Arc::clone(&start.key);
        let stop = CancellationToken::new();
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let (queue, events) = mpsc::channel(EVENTS_MAX);
        let driver = Driver::new(Parts {
            connector: connector.clone(),
            session: Session::new(options.config, start),
            disk: Disk::new(Box::new(store)),
            sink: options.handler.map_or_else(|| Sink::stream(queue), Sink::handler),
            key,
            refresh_token,
            edge: options.edge,
            commands: taken,
            stop: stop.clone(),
        });
        connector.tasks().spawn(Box::pin(driver.run()));
        let handle = Handle { commands, login: Arc::new(login) };
        Ok(Self { handle, events, _stop: stop.drop_guard() })
    }

    /// Who this device is.
    pub fn login_data(&self) -> &Login {
        &self.handle.login
    }

    /// To send and ask from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The next event. Messages that are not taken are not acknowledged, and after some the server
    /// stops delivering. Nothing when a handler takes the events, or after the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// As [`Handle::send`].
    ///
    /// # Errors
    /// As [`Handle::send`].
    pub async fn send(
        &self,
        to: AccountId,
        body: impl Into<Bytes> + Send,
    ) -> Result<Receipt, ClientError> {
        self.handle.send(to, body).await
    }

    /// As [`Handle::find_account`].
    ///
    /// # Errors
    /// As [`Handle::find_account`].
    pub async fn find_account(&self, user: &str) -> Result<AccountId, ClientError> {
        self.handle.find_account(user).await
    }

    /// Disconnects when everything is on the disk. Messages that are not decided are sent again when
    /// the device is opened again.
    ///
    /// # Errors
    /// When the disk refused something.
    pub async fn close(self) -> Result<(), ClientError> {
        let (reply, closed) = oneshot::channel();
        let sent = self.handle.commands.send(Command::Close { reply }).await;
        sent.map_err(|_| ClientError::Closed)?;
        Ok(closed.await.map_err(|_| ClientError::Closed)??)
    }
}

impl Handle {
    /// Who this device is.
    pub fn login_data(&self) -> &Login {
        &self.login
    }

    /// Sends one body to every device of an account. Waits while too many messages are undecided.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn send(
        &self,
        to: AccountId,
        body: impl Into<Bytes> + Send,
    ) -> Result<Receipt, ClientError> {
        self.send_draft(Draft::new(to, body)?).await
    }

    /// Sends a message that the caller made in all its parts.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn send_draft(&self, draft: Draft) -> Result<Receipt, ClientError> {
        let (receipt, decided) = oneshot::channel();
        let msg_id = draft.msg_id;
        let command = Command::Send { draft: Box::new(draft), receipt: Some(receipt) };
        self.commands.send(command).await.map_err(|_| ClientError::Closed)?;
        Ok(Receipt { msg_id, decided })
    }

    /// Sends many messages, in this order, without waiting for one before the next. They share the
    /// writes to the disk. Waits while too many messages are undecided.
    ///
    /// # Errors
    /// When the client is closed. Which of them it took is then in its history.
    pub async fn send_all(
        &self,
        drafts: impl IntoIterator<Item = Draft, IntoIter: Send> + Send,
    ) -> Result<Vec<Receipt>, ClientError> {
        let mut receipts = Vec::new();
        for draft in drafts {
            receipts.push(self.send_draft(draft).await?);
        }
        Ok(receipts)
    }

    /// Sends without waiting and without a receipt: what becomes of the message is an event only.
    ///
    /// # Errors
    /// Gives the message back when the client takes none at the moment.
    pub fn try_send(&self, draft: Box<Draft>) -> Result<(), Box<Draft>> {
        match self.commands.try_reserve() {
            Ok(permit) => {
                permit.send(Command::Send { draft, receipt: None });
                Ok(())
            }
            Err(_) => Err(draft),
        }
    }

    /// Whether the client would take a message now.
    pub fn has_room(&self) -> bool {
        self.commands.capacity() > 0
    }

    /// The account of a user name of this tenant.
    ///
    /// # Errors
    /// Code 4203 when there is none; otherwise when there is no answer in 20 seconds.
    pub async fn find_account(&self, user: &str) -> Result<AccountId, ClientError> {
        let CallAnswer::Account(account) =
            self.call(CallOp::FindAccount(user.to_ascii_lowercase())).await?
        else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(account)
    }

    /// The devices of this account.
    ///
    /// # Errors
    /// When there is no answer in 20 seconds.
    pub async fn devices(&self) -> Result<Vec<DeviceInfo>, ClientError> {
        let CallAnswer::Devices(devices) = self.call(CallOp::ListDevices).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(devices)
    }

    /// Takes the access of a device of this account, for ever.
    ///
    /// # Errors
    /// Code 4203 when there is no such device; otherwise when there is no answer in 20 seconds.
    pub async fn revoke(&self, device: DeviceNo) -> Result<(), ClientError> {
        self.call(CallOp::RevokeDevice(device)).await.map(|_| ())
    }

    /// Lets a new device into this account, by the code that it shows: from then on it reads what
    /// arrives and writes as its person. A code that was entered before is the same device.
    ///
    /// # Errors
    /// Code 4205 when there are too many devices, 4291 when too many were added of late, 4204 when the
    /// name is longer than 64 bytes or the code's key was revoked; otherwise when there is no answer in
    /// 20 seconds.
    pub async fn link_device(&self, code: LinkCode, name: &str) -> Result<DeviceNo, ClientError> {
        let op = CallOp::LinkDevice(code.key(), name.to_owned());
        let CallAnswer::Linked(device) = self.call(op).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(device)
    }

    /// A page of a conversation from the server, newest first. Of a large group it has what was said
    /// before it became large; see [`Handle::read_log`].
    ///
    /// # Errors
    /// When there is no answer in 20 seconds.
    pub async fn fetch(&self, fetch: Fetch) -> Result<Page, ClientError> {
        let CallAnswer::Page(page) = self.call(CallOp::Fetch(fetch)).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(page)
    }

    /// Wishes something of others; done once it is durable.
    ///
    /// # Errors
    /// Code 4291 when the list is full; otherwise when there is no answer in 20 seconds.
    pub async fn wish(&self, wish: Wish) -> Result<(), ClientError> {
        self.call(CallOp::Wish(wish)).await.map(|_| ())
    }

    /// Everything that this account wishes of others.
    ///
    /// # Errors
    /// When there is no answer in 20 seconds.
    pub async fn wishes(&self) -> Result<Relations, ClientError> {
        let CallAnswer::Wishes(wishes) = self.call(CallOp::ListWishes).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(*wishes)
    }

    /// The person read the conversation with somebody up to the message of this clock. It is said until
    /// the server has it, as long as the client is open.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn read(&self, with: AccountId, upto: Hlc, who: Readers) -> Result<(), ClientError> {
        self.tell(Input::Read { with, upto, who }).await
    }

    /// Ends when the server knows everything that was read here.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn reads_said(&self) -> Result<(), ClientError> {
        let (reply, said) = oneshot::channel();
        self.commands.send(Command::ReadsSaid { reply }).await.map_err(|_| ClientError::Closed)?;
        said.await.map_err(|_| ClientError::Closed)
    }

    /// Events tell whether somebody is there, from now on, or not any more. Beyond 256
    /// people nobody more is watched.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn watch(&self, account: AccountId, on: bool) -> Result<(), ClientError> {
        self.tell(Input::Watch { account, on }).await
    }

    /// The person writes something to somebody or to a small group: 1 for text, 0 when they stopped. May be lost.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn typing(&self, to: Address, kind: u32) -> Result<(), ClientError> {
        self.tell(Input::Typing { to, kind }).await
    }

    /// The person looks away, or at the application again: who looks away is not online.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn away(&self, away: bool) -> Result<(), ClientError> {
        self.tell(Input::Away(away)).await
    }

    /// How far conversations were received and read, as far as this device knows.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn marks(&self) -> Result<BTreeMap<AccountId, Mark>, ClientError> {
        let (reply, marks) = oneshot::channel();
        self.commands.send(Command::Marks { reply }).await.map_err(|_| ClientError::Closed)?;
        marks.await.map_err(|_| ClientError::Closed)
    }

    async fn tell(&self, input: Input) -> Result<(), ClientError> {
        self.commands.send(Command::Tell(input)).await.map_err(|_| ClientError::Closed)
    }

    async fn call(&self, op: CallOp) -> Result<CallAnswer, ClientError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Call { op, patience_ms: CALL_PATIENCE_MS, reply };
        self.commands.send(command).await.map_err(|_| ClientError::Closed)?;
        Ok(answer.await.map_err(|_| ClientError::Closed)??)
    }

    /// The newest places of the local history, oldest first: with one conversation, or all.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn history(
        &self,
        count: usize,
        with: Option<Address>,
    ) -> Result<Vec<Place>, ClientError> {
        let (reply, places) = oneshot::channel();
        let command = Command::History { count, with, reply };
        self.commands.send(command).await.map_err(|_| ClientError::Closed)?;
        places.await.map_err(|_| ClientError::Closed)
    }

    /// Gives the present connection up and connects again at once; also after the session stopped.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn reconnect(&self) -> Result<(), ClientError> {
        self.commands.send(Command::Reconnect).await.map_err(|_| ClientError::Closed)
    }
}

impl Draft {
    /// One body for every device of an account, under a name of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(to: AccountId, body: impl Into<Bytes>) -> Result<Self, ClientError> {
        Self::to(Address::Account(to), body)
    }

    /// One body for everybody there, under a name of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn to(to: Address, body: impl Into<Bytes>) -> Result<Self, ClientError> {
        let mut msg_id = MsgId([0; 16]);
        rand::fill(&mut msg_id.0).map_err(|_| KeyError::NoRandomness)?;
        let bodies = Bodies::Shared(body.into());
        let (about, change, roster) = (None, None, ConvSeq(0));
        Ok(Self { to, msg_id, bodies, expires_at_ms: 0, about, change, roster })
    }
}

impl Receipt {
    /// The message's name.
    pub fn msg_id(&self) -> MsgId {
        self.msg_id
    }
}

impl Future for Receipt {
    type Output = Result<Decided, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let decided = std::task::ready!(Pin::new(&mut self.decided).poll(cx));
        Poll::Ready(decided.unwrap_or(Err(ClientError::Closed)))
    }
}

fn start(state: &State) -> Result<(Start, Login), ClientError> {
    let login = state.login.clone().ok_or(ClientError::NotLoggedIn)?;
    let seed = state.key.as_ref().ok_or(ClientError::NotLoggedIn)?;
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| KeyError::NoRandomness)?;
    let access = state.tokens.as_ref().map(|tokens| {
        let valid_ms = tokens.access_until_ms.saturating_sub(wall_ms());
        (tokens.access.clone(), valid_ms)
    });
    let start = Start {
        account: login.account,
        device: login.device,
        key: Arc::new(DeviceKey::new(seed)?),
        access,
        stream_gen: state.stream_gen,
        cursor: state.cursor,
        marks: state.marks_version,
        next_client_seq: state.next_client_seq,
        undecided: state.undecided.clone(),
        groups: state.groups.clone(),
        seed: u64::from_le_bytes(random),
    };
    Ok((start, login))
}
