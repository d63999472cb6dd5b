//! How a place of the inbox is shown.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use iris_client::place::{Content, Incoming, Place};
use iris_core::group::{Change, Role};
use iris_core::id::{AccountId, DeviceId, GroupId, MsgId};
use iris_core::message::{About, Act, Address};
use iris_proto::client_frames::ToldPlace;
use serde_json::{Map, Value, json};

use crate::connect::{Context, Opened};
use crate::failure::group_words;
use crate::groups::name_of;
use crate::soak::named;

/// People whom a change of a group names, for people.
const NAMED_MAX: usize = 5;

/// The names of people, as far as this device knows them.
pub(super) struct Names {
    known: BTreeMap<String, String>,
    groups: BTreeMap<String, String>,
    own: (DeviceId, String),
}

impl Names {
    pub(super) fn of(context: &Context, opened: &Opened) -> Self {
        let login = opened.client.login_data();
        let device = DeviceId { account: login.account, device: login.device };
        // Whoever tries Iris has several people on one machine.
        let mut known = context.profiles.people();
        known.extend(opened.profile.people());
        let groups = opened.profile.groups();
        Self { known, groups, own: (device, login.handle.clone()) }
    }

    /// Remembers a name for as long as this lives.
    pub(super) fn add(&mut self, account: AccountId, name: &str) {
        self.known.insert(account.to_string(), name.to_ascii_lowercase());
    }

    /// The same for a group.
    pub(super) fn add_group(&mut self, group: GroupId, name: &str) {
        // What is named by its id has no name for that.
        if name.parse::<GroupId>().is_err() {
            self.groups.insert(group.to_string(), name.to_owned());
        }
    }

    pub(super) fn account(&self, account: AccountId) -> String {
        if account == self.own.0.account {
            return self.own.1.clone();
        }
        let id = account.to_string();
        self.known.get(&id).cloned().unwrap_or(id)
    }

    pub(super) fn group(&self, group: GroupId) -> String {
        let id = group.to_string();
        self.groups.get(&id).map(|name| shown(name.as_bytes())).unwrap_or(id)
    }

    fn address(&self, address: Address) -> String {
        match address {
            Address::Account(account) => self.account(account),
            Address::Group(group) => self.group(group),
        }
    }

    /// Whether a message in a group was typed here and stands there already.
    fn is_echo(&self, incoming: &Incoming) -> bool {
        let plain = incoming.about.is_none() && incoming.body.is_empty();
        let changes = incoming.in_group.as_ref().is_some_and(|at| at.change.is_some());
        incoming.sender == self.own.0 && plain && !changes
    }

    /// Whether this account wrote it.
    pub(super) fn is_own(&self, incoming: &Incoming) -> bool {
        incoming.sender.account == self.own.0.account
    }

    fn in_group(&self, incoming: &Incoming, at: &ToldPlace) -> String {
        let from = if self.is_own(incoming) {
            "you".to_owned()
        } else {
            self.account(incoming.sender.account)
        };
        let group = self.group(at.group);
        match &at.change {
            Some(change) => {
                let text = if incoming.body.is_empty() {
                    String::new()
                } else {
                    format!(": {}", shown(&incoming.body))
                };
                format!("{from} in {group} {}{text}", self.changed(change))
            }
            None => format!("{from} in {group}{}", said(incoming.about.as_ref(), &incoming.body)),
        }
    }

    /// What somebody did to a group.
    fn changed(&self, change: &Change) -> String {
        match change {
            Change::Create(who, _) => format!("made the group with {}", self.people(who)),
            Change::Add(who) => format!("added {}", self.people(who)),
            Change::Remove(who) => format!("removed {}", self.people(who)),
            Change::Leave => "left".to_owned(),
            Change::Promote(who, Role::Admin) => format!("made {} an admin", self.account(*who)),
            Change::Promote(who, Role::Member) => {
                format!("made {} an ordinary member", self.account(*who))
            }
            Change::Set(settings) => match name_of(settings) {
                Some(name) => format!("set its name to {name}"),
                None => "changed its settings".to_owned(),
            },
        }
    }

    fn people(&self, who: &[AccountId]) -> String {
        let named: Vec<_> = who.iter().take(NAMED_MAX).map(|who| self.account(*who)).collect();
        match who.len().saturating_sub(NAMED_MAX) {
            0 if named.is_empty() => "nobody".to_owned(),
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    fn change_value(&self, change: &Change) -> Value {
        let people = |who: &[AccountId]| -> Vec<String> {
            who.iter().map(|who| self.account(*who)).collect()
        };
        match change {
            Change::Create(who, settings) => {
                json!({"kind": "create", "members": people(who), "name": name_of(settings)})
            }
            Change::Add(who) => json!({"kind": "add", "members": people(who)}),
            Change::Remove(who) => json!({"kind": "remove", "members": people(who)}),
            Change::Leave => json!({"kind": "leave"}),
            Change::Promote(who, role) => json!({
                "kind": if *role == Role::Admin { "promote" } else { "demote" },
                "member": self.account(*who),
            }),
            Change::Set(settings) => json!({"kind": "set", "name": name_of(settings)}),
        }
    }

    /// A place for people; nothing for what they need not see.
    pub(super) fn text(&self, place: &Place) -> Option<String> {
        let (clock, content) = (clock(place.clock_ms), &place.content);
        match content {
            Content::Incoming(incoming) if self.is_echo(incoming) => None,
            Content::Incoming(incoming @ Incoming { in_group: Some(at), .. }) => {
                Some(format!("{clock} {}", self.in_group(incoming, at)))
            }
            Content::Incoming(incoming) => {
                let from = self.account(incoming.sender.account);
                let said = said(incoming.about.as_ref(), &incoming.body);
                Some(format!("{clock} {from}{said}"))
            }
            // It comes again from the group, with its place.
            Content::Sent(_) if place.is_on_its_way() => None,
            // What was typed here stands there already; the server does not send it back.
            Content::Sent(sent)
                if sent.device == self.own.0.device
                    && sent.body.is_empty()
                    && sent.about.is_none() =>
            {
                None
            }
            Content::Sent(sent) => {
                let (to, said) = (self.address(sent.to), said(sent.about.as_ref(), &sent.body));
                Some(format!("{clock} you to {to}{said}"))
            }
            Content::Notice(notice) => {
                let (code, id) = (named(notice.code), notice.msg_id);
                let words = group_words(notice.code).filter(|_| notice.code != 4106);
                let words = words.map(|words| format!(": {words}")).unwrap_or_default();
                Some(format!("{clock} a message was refused ({code}{words}): {id}"))
            }
            Content::Hole => None,
        }
    }

    /// A message for people, with its name.
    pub(super) fn named(&self, place: &Place) -> Option<String> {
        let msg_id = match &place.content {
            Content::Incoming(incoming) => incoming.msg_id,
            Content::Sent(sent) => sent.msg_id,
            Content::Notice(_) | Content::Hole => return None,
        };
        self.text(place).map(|text| format!("{}  {text}", short(msg_id)))
    }

    /// A place for programs.
    pub(super) fn value(&self, place: &Place) -> Value {
        let common = json!({"inbox_seq": place.seq.0, "clock_ms": place.clock_ms});
        let own = match &place.content {
            Content::Incoming(incoming) => {
                let account = incoming.sender.account;
                let own = incoming.in_group.is_some() && self.is_own(incoming);
                let mut value = json!({
                    "event": if own { "sent" } else { "message" },
                    "from": self.account(account),
                    "from_account": account.to_string(),
                    "from_device": incoming.sender.device.0,
                    "msg_id": incoming.msg_id.to_string(),
                });
                add_body(&mut value, &incoming.body);
                add_about(&mut value, incoming.about.as_ref(), incoming.expires_at_ms);
                if let Some(at) = &incoming.in_group {
                    value["group"] = self.group(at.group).into();
                    value["group_id"] = at.group.to_string().into();
                    value["place"] = at.place.0.into();
                    if let Some(change) = &at.change {
                        value["change"] = self.change_value(change);
                    }
                }
                value
            }
            Content::Sent(sent) => {
                let mut value = json!({
                    "event": if place.is_on_its_way() { "sending" } else { "sent" },
                    "to": self.address(sent.to),
                    "device": sent.device.0,
                    "client_seq": sent.client_seq.0,
                    "msg_id": sent.msg_id.to_string(),
                });
                add_body(&mut value, &sent.body);
                add_about(&mut value, sent.about.as_ref(), sent.expires_at_ms);
                value
            }
            Content::Notice(notice) => json!({
                "event": "refused",
                "msg_id": notice.msg_id.to_string(),
                "code": notice.code,
                "client_seq": notice.client_seq.0,
            }),
            Content::Hole => json!({"event": "hole"}),
        };
        let parts = [own, common].into_iter().filter_map(|value| match value {
            Value::Object(fields) => Some(fields),
            _ => None,
        });
        Value::Object(parts.flatten().collect::<Map<_, _>>())
    }
}

fn add_body(value: &mut Value, body: &[u8]) {
    // Bodies are anybody's bytes; most are text.
    match std::str::from_utf8(body) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => value["body"] = BASE64URL_NOPAD.encode(body).into(),
    }
}

fn add_about(value: &mut Value, about: Option<&About>, expires_at_ms: u64) {
    if let Some(about) = about {
        value["act"] = act(about).into();
        value["about"] = about.msg_id.to_string().into();
    }
    if expires_at_ms > 0 {
        value["expires_at_ms"] = expires_at_ms.into();
    }
}

fn act(about: &About) -> &'static str {
    match about.act {
        Act::Edit => "edit",
        Act::Delete => "delete",
        Act::React => "react",
    }
}

/// What somebody said, behind their name.
fn said(about: Option<&About>, body: &[u8]) -> String {
    let Some(about) = about else { return format!(": {}", shown(body)) };
    let name = short(about.msg_id);
    match about.act {
        Act::Edit => format!(" edited {name}: {}", shown(body)),
        Act::Delete => format!(" deleted {name}"),
        Act::React => format!(" reacted to {name}: {}", shown(body)),
    }
}

/// Enough of a message's name to say which is meant.
pub(super) fn short(msg_id: MsgId) -> String {
    msg_id.to_string().chars().take(8).collect()
}

/// A body on one line, without what a terminal would obey.
fn shown(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => text
            .chars()
            .map(|c| match c {
                '\n' | '\t' => c,
                c if c.is_control() => '\u{fffd}',
                c => c,
            })
            .collect(),
        Err(_) => format!("({} bytes that are no text)", body.len()),
    }
}

/// The time of day, UTC.
pub(super) fn clock(ms: u64) -> String {
    let seconds = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_command_the_terminal() {
        assert_eq!(shown("a\x1b[2Jb\n".as_bytes()), "a\u{fffd}[2Jb\n");
        assert_eq!(shown(&[0xff, 0xfe]), "(2 bytes that are no text)");
    }

    #[test]
    fn times_of_day() {
        assert_eq!(clock(86_400_000 * 3 + 3_723_004), "01:02:03Z");
    }
}
