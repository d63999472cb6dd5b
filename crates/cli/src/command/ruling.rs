//! What became of a message: what the server said of it, and to a group what that said.
//!
//! A message to a group is accepted before the group saw it. That it has its place is seen when it comes
//! back with it, and that it was refused by a notice.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_client::place::{Content, Place};
use iris_client::{Event, Outcome, Receipt};
use iris_core::id::{AccountId, MsgId};
use iris_core::seq::ConvSeq;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::connect::{Context, Opened};
use crate::failure::{Failure, refused_by_group, refused_by_server};
use crate::soak::named;

/// What groups said of messages of this device.
#[derive(Debug, Default)]
pub(super) struct Rulings {
    known: BTreeMap<MsgId, Ruling>,
}

/// What a group said of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ruling {
    Placed(ConvSeq),
    Refused(u32),
}

impl Rulings {
    /// Waits for the server's decision, and tells it.
    pub(super) async fn answered(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        receipt: Receipt,
        patience: Duration,
    ) -> Result<(), Failure> {
        self.decided(context, opened, receipt, Instant::now() + patience).await
    }

    /// Waits until a group took a message, or says why not. Nothing when it has said nothing in time.
    pub(super) async fn taken(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        receipt: Receipt,
        patience: Duration,
    ) -> Result<Option<ConvSeq>, Failure> {
        let (until, msg_id) = (Instant::now() + patience, receipt.msg_id());
        let outcome = self.outcome(context, opened, receipt, until).await?;
        if let Outcome::Refused { code } = outcome.outcome {
            return Err(refused_by_group(code));
        }
        self.ruled(context, opened, msg_id, until).await
    }

    /// The same for a message to a group that is told of like any other.
    pub(super) async fn answered_by_group(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        receipt: Receipt,
        patience: Duration,
    ) -> Result<(), Failure> {
        let msg_id = receipt.msg_id();
        match self.taken(context, opened, receipt, patience).await {
            Ok(place) => {
                let text = match place {
                    Some(place) => format!("accepted ({msg_id}), at place {place}"),
                    None => format!("accepted ({msg_id}), on its way to the group"),
                };
                let place = place.map(|place| place.0);
                let value = json!({
                    "event": "accepted", "msg_id": msg_id.to_string(), "place": place,
                });
                context.output.result(&text, &value)
            }
            Err(failure) => {
                if context.output.is_json() {
                    let value = json!({"event": "refused", "msg_id": msg_id.to_string()});
                    context.output.result("", &value)?;
                }
                Err(failure)
            }
        }
    }

    async fn decided(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        receipt: Receipt,
        until: Instant,
    ) -> Result<(), Failure> {
        let msg_id = receipt.msg_id();
        let decided = self.outcome(context, opened, receipt, until).await?;
        let value = |outcome: &str, code: u32| {
            json!({
                "event": outcome,
                "msg_id": msg_id.to_string(),
                "client_seq": decided.client_seq.0,
                "code": if code == 0 { None } else { Some(code) },
            })
        };
        match decided.outcome {
            Outcome::Accepted => {
                let text = format!("accepted ({msg_id})");
                context.output.result(&text, &value("accepted", 0))
            }
            Outcome::Refused { code } => {
                if context.output.is_json() {
                    context.output.result("", &value("refused", code))?;
                }
                Err(refused_by_server(code))
            }
        }
    }

    async fn outcome(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        mut receipt: Receipt,
        until: Instant,
    ) -> Result<iris_client::Decided, Failure> {
        let own = opened.client.login_data().account;
        loop {
            tokio::select! {
                decided = timeout_at(until, &mut receipt) => match decided {
                    Ok(decided) => return Ok(decided?),
                    Err(_) => return Err(late()),
                },
                Some(event) = opened.client.next() => self.note(context, own, &event),
            }
        }
    }

    async fn ruled(
        &mut self,
        context: &mut Context,
        opened: &mut Opened,
        msg_id: MsgId,
        until: Instant,
    ) -> Result<Option<ConvSeq>, Failure> {
        let own = opened.client.login_data().account;
        loop {
            match self.known.remove(&msg_id) {
                Some(Ruling::Placed(place)) => return Ok(Some(place)),
                Some(Ruling::Refused(code)) => return Err(refused_by_group(code)),
                None => {}
            }
            match timeout_at(until, opened.client.next()).await {
                Ok(Some(event)) => self.note(context, own, &event),
                Ok(None) => return Err(iris_client::ClientError::Closed.into()),
                Err(_) => return Ok(None),
            }
        }
    }

    fn note(&mut self, context: &mut Context, own: AccountId, event: &Event) {
        match event {
            Event::Nacked { code, .. } => {
                context.output.note(&format!("the server asks to wait ({})", named(*code)));
            }
            Event::Placed(place) | Event::Logged(place) => {
                self.known.extend(ruling(own, place));
            }
            _ => {}
        }
    }
}

/// What a place says of a message of `own` to a group.
fn ruling(own: AccountId, place: &Place) -> Option<(MsgId, Ruling)> {
    match &place.content {
        Content::Incoming(incoming) if incoming.sender.account == own => {
            let at = incoming.in_group.as_ref()?;
            Some((incoming.msg_id, Ruling::Placed(at.place)))
        }
        Content::Notice(notice) => Some((notice.msg_id, Ruling::Refused(notice.code))),
        Content::Incoming(_) | Content::Sent(_) | Content::Hole => None,
    }
}

fn late() -> Failure {
    Failure::new("no decision in time").hint(
        "the message is on this device's disk and goes out with the next connection; \
         --timeout waits longer",
    )
}

#[cfg(test)]
mod tests {
    use iris_client::place::{Incoming, Notice};
    use iris_core::clock::Hlc;
    use iris_core::id::{DeviceId, DeviceNo, GroupId};
    use iris_core::seq::{ClientSeq, InboxSeq};
    use iris_proto::client_frames::ToldPlace;

    use super::*;

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes(&[n; 16]).unwrap()
    }

    fn place(content: Content) -> Place {
        Place { seq: InboxSeq(1), clock_ms: 1, content }
    }

    fn message(sender: u8, in_group: bool) -> Place {
        let at = ToldPlace {
            group: GroupId::from_bytes(&[8; 16]).unwrap(),
            place: ConvSeq(7),
            change: None,
            pulls: false,
        };
        place(Content::Incoming(Incoming {
            sender: DeviceId { account: account(sender), device: DeviceNo(1) },
            msg_id: MsgId([3; 16]),
            body: bytes::Bytes::new(),
            expires_at_ms: 0,
            clock: Hlc(1),
            about: None,
            in_group: in_group.then(|| Box::new(at)),
        }))
    }

    #[test]
    fn the_own_copy_with_its_place_and_a_notice_are_what_a_group_says() {
        let own = account(1);
        let placed = Some((MsgId([3; 16]), Ruling::Placed(ConvSeq(7))));
        assert_eq!(ruling(own, &message(1, true)), placed);
        assert_eq!(ruling(own, &message(2, true)), None, "somebody else's");
        assert_eq!(ruling(own, &message(1, false)), None, "to oneself");
        let notice = Notice {
            msg_id: MsgId([4; 16]),
            device: DeviceNo(1),
            client_seq: ClientSeq(1),
            code: 4101,
        };
        let refused = Some((MsgId([4; 16]), Ruling::Refused(4101)));
        assert_eq!(ruling(own, &place(Content::Notice(notice))), refused);
    }
}
