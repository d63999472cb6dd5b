//! How a place of the inbox is shown.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use iris_client::place::{Content, Place};
use iris_core::id::{AccountId, DeviceId, MsgId};
use iris_core::message::{About, Act, Address};
use serde_json::{Map, Value, json};

use crate::connect::{Context, Opened};
use crate::soak::named;

/// The names of people, as far as this device knows them.
pub(super) struct Names {
    known: BTreeMap<String, String>,
    own: (DeviceId, String),
}

impl Names {
    pub(super) fn of(context: &Context, opened: &Opened) -> Self {
        let login = opened.client.login_data();
        let device = DeviceId { account: login.account, device: login.device };
        // Whoever tries Iris has several people on one machine.
        let mut known = context.profiles.people();
        known.extend(opened.profile.people());
        Self { known, own: (device, login.handle.clone()) }
    }

    /// Remembers a name for as long as this lives.
    pub(super) fn add(&mut self, account: AccountId, name: &str) {
        self.known.insert(account.to_string(), name.to_ascii_lowercase());
    }

    pub(super) fn account(&self, account: AccountId) -> String {
        if account == self.own.0.account {
            return self.own.1.clone();
        }
        let id = account.to_string();
        self.known.get(&id).cloned().unwrap_or(id)
    }

    fn address(&self, address: Address) -> String {
        match address {
            Address::Account(account) => self.account(account),
            Address::Group(group) => group.to_string(),
        }
    }

    /// A place for people; nothing for what they need not see.
    pub(super) fn text(&self, place: &Place) -> Option<String> {
        let (clock, content) = (clock(place.clock_ms), &place.content);
        match content {
            Content::Incoming(incoming) => {
                let from = self.account(incoming.sender.account);
                let said = said(incoming.about.as_ref(), &incoming.body);
                Some(format!("{clock} {from}{said}"))
            }
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
                Some(format!("{clock} a message was refused ({code}): {id}"))
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
                let mut value = json!({
                    "event": "message",
                    "from": self.account(account),
                    "from_account": account.to_string(),
                    "from_device": incoming.sender.device.0,
                    "msg_id": incoming.msg_id.to_string(),
                });
                add_body(&mut value, &incoming.body);
                add_about(&mut value, incoming.about.as_ref(), incoming.expires_at_ms);
                value
            }
            Content::Sent(sent) => {
                let mut value = json!({
                    "event": "sent",
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
