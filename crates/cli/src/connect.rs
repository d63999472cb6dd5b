//! From arguments and an account's memory to a client that is connected.

use std::time::Duration;

use iris_client::store::Store as _;
use iris_client::{Carrier, Client, ClientError, Connector, EdgeAddr, Event, Options, Trust, Why};
use iris_core::id::AccountId;
use tokio::time::{Instant, timeout_at};

use crate::args::Global;
use crate::failure::{Failure, unreachable_hint};
use crate::output::Output;
use crate::profile::{Profile, Profiles, Server};
use crate::soak::told;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) profiles: Profiles,
    pub(crate) output: Output,
}

/// An account with its client.
pub(crate) struct Opened {
    pub(crate) profile: Profile,
    pub(crate) client: Client,
    pub(crate) connector: Connector,
}

/// The way to these servers.
pub(crate) fn connector(server: &Server) -> Result<Connector, Failure> {
    if server.servers.is_empty() {
        return Err(Failure::new("no server is named")
            .hint("name one with --server HOST:PORT, or set IRIS_SERVER"));
    }
    let edges: Result<Vec<EdgeAddr>, String> =
        server.servers.iter().map(|server| server.parse()).collect();
    let edges = edges.map_err(Failure::new)?;
    let trust = match &server.ca_pem {
        Some(pem) => Trust::Pem(pem.clone().into_bytes()),
        None => Trust::System,
    };
    let carrier = if server.websocket { Carrier::WebSocket } else { Carrier::Tls };
    Ok(Connector::new(edges, &trust, carrier)?)
}

impl Context {
    /// The account that is meant.
    pub(crate) fn profile(&self) -> Result<Profile, Failure> {
        self.profiles.select(self.global.account.as_deref())
    }

    /// Opens the account that is meant; it connects in the background.
    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        let profile = self.profile()?;
        let connector = connector(&profile.server().merged(&self.global)?)?;
        let store = profile.store()?;
        if store.state().login.is_none() {
            return Err(Failure::new(format!(
                "{} was not registered or linked to its end",
                profile.name
            ))
            .hint("do the same again: `iris register NAME`, or `iris link NAME`"));
        }
        let client = Client::open(&connector, store, Options::default())?;
        Ok(Opened { profile, client, connector })
    }

    /// Opens the account that is meant and waits until the server serves it.
    pub(crate) async fn reach(&self, patience: Duration) -> Result<Opened, Failure> {
        let mut opened = self.open()?;
        opened.connected(patience).await?;
        Ok(opened)
    }
}

impl Opened {
    /// Waits until the server serves this device.
    async fn connected(&mut self, patience: Duration) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        let mut trouble = "no answer".to_owned();
        loop {
            match timeout_at(until, self.client.next()).await {
                Ok(Some(Event::Connected { .. })) => return Ok(()),
                Ok(Some(Event::Stopped(stop))) => {
                    return Err(ClientError::from(stop).into());
                }
                Ok(Some(Event::Disconnected { why, .. })) => {
                    let never = matches!(&why, Why::Unreachable(text) if is_hopeless(text));
                    trouble = told(&why).1;
                    if never {
                        break;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(Failure::new("the client ended")),
                Err(_) => break,
            }
        }
        let hint = unreachable_hint(&trouble);
        Err(Failure::new(format!("no server could be reached: {trouble}")).hint(hint))
    }

    /// The account of a name, or the account itself.
    pub(crate) async fn find(&self, who: &str) -> Result<AccountId, Failure> {
        let missing = || {
            Failure::new(format!("there is nobody called {who}"))
                .hint("check the spelling; names are not case sensitive")
        };
        self.lookup(who).await?.ok_or_else(missing)
    }

    /// The same; nothing where there is nobody of that name, or it can be no one's.
    pub(crate) async fn lookup(&self, who: &str) -> Result<Option<AccountId>, Failure> {
        if let Ok(account) = who.parse() {
            return Ok(Some(account));
        }
        let account = match self.client.find_account(who).await {
            Ok(account) => account,
            Err(ClientError::Refused { code: 4203 | 4204, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.profile.learn(account, &who.to_ascii_lowercase())?;
        Ok(Some(account))
    }

    /// Waits until the server knows what was read, but not for ever: it may be said another time.
    pub(crate) async fn settled(&self, patience: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(patience, self.client.handle().reads_said()).await {
            Ok(said) => Ok(said?),
            Err(_) => Ok(()),
        }
    }

    /// Closes the client when everything is on the disk.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.client.close().await?;
        self.connector.ended().await;
        Ok(())
    }
}

/// Waiting does not make a certificate good.
fn is_hopeless(text: &str) -> bool {
    text.contains("certificate") || text.contains("UnknownIssuer")
}
