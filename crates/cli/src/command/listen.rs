//! `iris listen`.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_client::groups::Skipped;
use iris_client::place::{Content, Place};
use iris_client::{ClientError, Event, Readers};
use iris_core::clock::Hlc;
use iris_core::group::Change;
use iris_core::id::AccountId;
use iris_core::mark::Mark;
use iris_core::message::Address;
use iris_core::signal::{Presence, Typing};
use serde_json::json;
use tokio::time::Instant;

use crate::args::Listen;
use crate::connect::{Context, Opened};
use crate::failure::Failure;
use crate::groups::name_of;
use crate::soak::told;

use super::print::{Names, clock};

/// For the server to say that it knows what was read.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// As many places as a device keeps, of its inbox and of large groups.
const ALL: usize = 20_000;

/// Shows places, each once.
pub(super) struct Shower {
    names: Names,
    /// The last place that was shown.
    pub(super) shown: u64,
    /// The last place of each large group that was shown.
    shown_in_groups: BTreeMap<String, u64>,
    only: Option<Address>,
    incoming: u64,
    /// Who wrote what was shown last, until they are told that it was read.
    unread: BTreeMap<AccountId, Hlc>,
}

impl Shower {
    pub(super) fn new(context: &Context, opened: &Opened, only: Option<(Address, &str)>) -> Self {
        let mut names = Names::of(context, opened);
        match only {
            Some((Address::Account(account), name)) => names.add(account, name),
            Some((Address::Group(group), name)) => names.add_group(group, name),
            None => {}
        }
        Self {
            names,
            shown: opened.profile.shown(),
            shown_in_groups: opened.profile.shown_in_groups(),
            only: only.map(|(address, _)| address),
            incoming: 0,
            unread: BTreeMap::new(),
        }
    }

    /// Shows a place unless it was shown before.
    pub(super) fn show(
        &mut self,
        context: &mut Context,
        opened: &Opened,
        place: &Place,
    ) -> Result<(), Failure> {
        self.learn(opened, place)?;
        if self.was_shown(place) {
            return Ok(());
        }
        self.skip(place);
        self.put(context, place)?;
        // Whoever looks at one conversation alone has not seen the others.
        match (self.only, place.seq.0) {
            (Some(_), _) => Ok(()),
            (None, 0) => opened.profile.set_shown_in_groups(&self.shown_in_groups),
            (None, _) => opened.profile.set_shown(self.shown),
        }
    }

    fn was_shown(&self, place: &Place) -> bool {
        match place.in_group().filter(|_| place.seq.0 == 0) {
            Some(at) => {
                let shown = self.shown_in_groups.get(&at.group.to_string()).copied();
                shown.is_some_and(|shown| at.place.0 <= shown)
            }
            None => place.seq.0 <= self.shown,
        }
    }

    /// A place counts as shown.
    pub(super) fn skip(&mut self, place: &Place) {
        match place.in_group().filter(|_| place.seq.0 == 0) {
            Some(at) => {
                let shown = self.shown_in_groups.entry(at.group.to_string()).or_default();
                *shown = at.place.0.max(*shown);
            }
            None => self.shown = self.shown.max(place.seq.0),
        }
    }

    /// Remembers what a group is called.
    fn learn(&mut self, opened: &Opened, place: &Place) -> Result<(), Failure> {
        let Some(at) = place.in_group() else { return Ok(()) };
        let (Some(Change::Create(_, settings)) | Some(Change::Set(settings))) = &at.change else {
            return Ok(());
        };
        match name_of(settings) {
            Some(name) if !self.was_shown(place) => {
                self.names.add_group(at.group, &name);
                opened.profile.learn_group(at.group, &name)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Shows a place in any case.
    pub(super) fn put(&mut self, context: &mut Context, place: &Place) -> Result<(), Failure> {
        if let (Some(only), Some(peer)) = (self.only, place.peer())
            && peer != only
        {
            return Ok(());
        }
        if let Content::Incoming(incoming) = &place.content {
            match incoming.in_group {
                // Groups have no marks.
                Some(_) => self.incoming += u64::from(!self.names.is_own(incoming)),
                None => {
                    self.incoming += 1;
                    let clock = self.unread.entry(incoming.sender.account).or_default();
                    *clock = incoming.clock.max(*clock);
                }
            }
        }
        match self.names.text(place) {
            Some(text) => context.output.result(&text, &self.names.value(place)),
            None if context.output.is_json() => context.output.result("", &self.names.value(place)),
            None => Ok(()),
        }
    }

    /// Tells those who wrote it that what was shown is read.
    pub(super) async fn tell_read(&mut self, opened: &Opened) -> Result<(), Failure> {
        for (with, upto) in std::mem::take(&mut self.unread) {
            opened.client.handle().read(with, upto, Readers::Writer).await?;
        }
        Ok(())
    }

    /// Shows what arrived since something was last shown, while nobody was looking.
    pub(super) async fn catch_up(
        &mut self,
        context: &mut Context,
        opened: &Opened,
    ) -> Result<(), Failure> {
        let places = opened.client.handle().history(ALL, None).await?;
        let last = places.iter().map(|place| place.seq.0).max().filter(|last| *last > 0);
        if last.is_some_and(|last| last < self.shown) {
            // The inbox began anew.
            self.shown = 0;
        }
        for place in &places {
            self.show(context, opened, place)?;
        }
        Ok(())
    }
}

impl Shower {
    /// Whether events of a conversation are shown.
    fn shows(&self, conversation: Address) -> bool {
        self.only.is_none_or(|only| only == conversation)
    }

    fn marked(&self, context: &mut Context, with: AccountId, mark: Mark) -> Result<(), Failure> {
        if !self.shows(Address::Account(with)) {
            return Ok(());
        }
        let name = self.names.account(with);
        if context.output.is_json() {
            let value = json!({
                "event": "receipt",
                "with": name,
                "with_account": with.to_string(),
                "delivered_ms": mark.delivered.wall().0,
                "read_ms": mark.read.wall().0,
                "own_read_ms": mark.own_read.wall().0,
            });
            return context.output.result("", &value);
        }
        if mark.read > Hlc(0) {
            let upto = clock(mark.read.wall().0);
            context.output.note(&format!("-- {name} read what was sent until {upto} --"));
        }
        Ok(())
    }

    pub(super) fn presence(
        &self,
        context: &mut Context,
        account: AccountId,
        presence: Presence,
    ) -> Result<(), Failure> {
        let name = self.names.account(account);
        let (state, since) = match presence {
            Presence::Online => ("online", 0),
            Presence::Offline(at) => ("offline", at.0),
            Presence::Hidden => ("hidden", 0),
        };
        let text = match presence {
            Presence::Offline(at) if at.0 > 0 => {
                format!("-- {name} is offline, last seen {} --", clock(at.0))
            }
            Presence::Online | Presence::Offline(_) => format!("-- {name} is {state} --"),
            Presence::Hidden => format!("-- {name} does not show whether they are there --"),
        };
        let value = json!({
            "event": "presence",
            "of": name,
            "account": account.to_string(),
            "state": state,
            "last_seen_ms": if since > 0 { Some(since) } else { None },
        });
        context.output.result(&text, &value)
    }

    fn typing(&self, context: &mut Context, typing: Typing) -> Result<(), Failure> {
        let (conversation, group) = match typing.to {
            Address::Account(_) => (Address::Account(typing.from), None),
            Address::Group(group) => (typing.to, Some(self.names.group(group))),
        };
        if !self.shows(conversation) {
            return Ok(());
        }
        let name = self.names.account(typing.from);
        if context.output.is_json() {
            let kind = typing.kind;
            let value = json!({"event": "typing", "from": name, "kind": kind, "group": group});
            return context.output.result("", &value);
        }
        if typing.kind > 0 {
            let group = group.map(|group| format!(" in {group}")).unwrap_or_default();
            context.output.note(&format!("-- {name} is writing{group} --"));
        }
        Ok(())
    }
}

pub(super) async fn run(context: &mut Context, args: Listen) -> Result<(), Failure> {
    let mut opened = context.open()?;
    let until = args.period.map(|period| Instant::now() + period);
    let from = match &args.from {
        Some(name) => Some((opened.address(name).await?, name.as_str())),
        None => None,
    };
    let mut shower = Shower::new(context, &opened, from);
    if let Some(last) = args.last {
        let with = from.map(|(address, _)| address);
        let places = opened.client.handle().history(last, with).await?;
        for place in places.iter().filter(|place| shower.was_shown(place)).collect::<Vec<_>>() {
            shower.put(context, place)?;
        }
        // Only what is new counts.
        shower.incoming = 0;
    }
    shower.catch_up(context, &opened).await?;
    let enough = |shower: &Shower| args.count.is_some_and(|count| shower.incoming >= count);
    while !enough(&shower) {
        if args.read {
            shower.tell_read(&opened).await?;
        }
        let event = tokio::select! {
            event = opened.client.next() => event,
            () = passed(until) => break,
            signal = tokio::signal::ctrl_c() => { signal?; break }
        };
        match event {
            Some(event) => heard(context, &opened, &mut shower, event)?,
            None => return Err(ClientError::Closed.into()),
        }
    }
    if args.read {
        shower.tell_read(&opened).await?;
        opened.settled(READ_PATIENCE).await?;
    }
    opened.close().await?;
    match args.count {
        Some(count) if shower.incoming < count && until.is_some() => {
            let text = format!("{} of {count} messages came", shower.incoming);
            Err(Failure::new(text).hint("--for waits longer"))
        }
        _ => Ok(()),
    }
}

/// Shows an event.
pub(super) fn heard(
    context: &mut Context,
    opened: &Opened,
    shower: &mut Shower,
    event: Event,
) -> Result<(), Failure> {
    match event {
        Event::Placed(place) | Event::Logged(place) => shower.show(context, opened, &place)?,
        Event::Missed { upto } => {
            let text = format!("-- messages up to {upto} are gone from the server --");
            let value = json!({"event": "missed", "upto": upto.0});
            context.output.result(&text, &value)?;
            shower.shown = upto.0;
        }
        Event::Connected { .. } => context.output.note("-- connected --"),
        Event::Disconnected { why, retry_in_ms } => {
            let (words, seconds) = (told(&why).1, retry_in_ms.div_ceil(1000));
            context.output.note(&format!("-- {words}; next try in {seconds} s --"));
        }
        Event::Gap { expected, found } => {
            let text = format!("-- the server skipped from {expected} to {found}: a defect --");
            context.output.note(&text);
        }
        Event::GroupGap(Skipped { group, expected, found }) => {
            let group = shower.names.group(group);
            let text = format!(
                "-- {group} went on from {expected} to {found}: what was between is gone --"
            );
            context.output.note(&text);
        }
        Event::Stopped(stop) => return Err(ClientError::from(stop).into()),
        Event::Marked { with, mark } => shower.marked(context, with, mark)?,
        Event::Presence { account, presence } => shower.presence(context, account, presence)?,
        Event::Typing(typing) => shower.typing(context, typing)?,
        Event::Decided { .. } | Event::Nacked { .. } | Event::Acked { .. } => {}
    }
    Ok(())
}

pub(super) async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
