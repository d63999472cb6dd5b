//! What a lane tells others: clients, the directory, and the shards of other lanes and sessions.

use iris_core::code::Code;
use iris_core::id::ShardId;
use iris_core::limits;
use iris_core::seq::OutboxSeq;
use iris_core::shard::{
    CallAnswer, Conn, DirectoryAnswer, Input, LinkNo, OutboxItem, ToConn, Token,
};
use iris_core::signal::Signal;
use iris_proto::client;
use iris_proto::client_frames::{
    deliver_to_wire, head_to_wire, log_page_to_wire, memberships_to_wire, page_to_wire,
    presence_to_wire, receipt_to_wire, roster_to_wire, typing_to_wire, wishes_to_wire,
};
use iris_proto::frame::FrameType;
use iris_proto::peer::{
    Attached, Closed, ConfirmItem, Frame, NotServing, confirm_item, owner_item,
};
use prost::Message as _;

use super::super::inputs::{Answered, Delivery, PeerNews};
use super::Lane;

impl Lane {
    pub(super) fn tell_conn(&mut self, shard: ShardId, conn: Conn, what: ToConn) {
        let kind = match what {
            ToConn::Attached(attached) => owner_item::Kind::Attached(Attached {
                snapshot_needed: attached.snapshot_needed,
                stream_gen: attached.stream_gen,
                head: attached.head.0,
                start: attached.start.0,
                floor: attached.floor.0,
                next_client_seq: attached.next_client_seq.0,
                window_messages: limits::SENDS_IN_FLIGHT_MAX,
                window_bytes: limits::SENDS_IN_FLIGHT_BYTES_MAX,
            }),
            ToConn::SendAck { client_seq, refusals } => {
                self.deps.metrics.refused.inc_by(refusals.len() as u64);
                let refusals = refusals.into_iter().map(|(seq, code)| client::Refusal {
                    client_seq: seq.0,
                    code: code.number().into(),
                });
                let ack = client::SendAck {
                    client_seq: client_seq.0,
                    server_time_ms: self.deps.clock.now().wall.0,
                    refusals: refusals.collect(),
                };
                frame(FrameType::SendAck, &ack)
            }
            ToConn::SendNack { client_seq, code, retry_after_ms } => {
                let label = code.number().to_string();
                self.deps.metrics.put_off.with_label_values(&[&label]).inc();
                let nack = client::SendNack {
                    client_seq: client_seq.0,
                    code: code.number().into(),
                    retry_after_ms,
                    detail: String::new(),
                };
                frame(FrameType::SendNack, &nack)
            }
            ToConn::Deliver { device, items } => {
                self.deps.metrics.delivered.inc_by(items.len() as u64);
                let Some(account) = self.account_of(shard, conn) else { return };
                let payload = deliver_to_wire(account, device, &items).encode_to_vec().into();
                owner_item::Kind::Frame(Frame {
                    r#type: FrameType::Deliver.number().into(),
                    payload,
                    last_inbox_seq: items.last().map_or(0, |item| item.seq.0),
                    entries: u32::try_from(items.len()).unwrap_or(u32::MAX),
                    ..Frame::default()
                })
            }
            ToConn::Marks { marks, version } => {
                let receipt = receipt_to_wire(&marks, version);
                owner_item::Kind::Frame(Frame {
                    r#type: FrameType::Receipt.number().into(),
                    payload: receipt.encode_to_vec().into(),
                    marks: receipt.version,
                    ..Frame::default()
                })
            }
            ToConn::Presence { of, presence } => {
                frame(FrameType::Signal, &presence_to_wire(of, presence))
            }
            ToConn::Typing(typing) => frame(FrameType::Signal, &typing_to_wire(typing)),
            ToConn::Head { group, head } => frame(FrameType::Signal, &head_to_wire(group, head)),
            ToConn::LogPage { corr, device, messages, more } => {
                let Some(account) = self.account_of(shard, conn) else { return };
                let page = log_page_to_wire(account, device, &messages, more);
                correlated(FrameType::LogPage, corr, &page)
            }
            ToConn::Page { corr, device, items, next } => {
                let Some(account) = self.account_of(shard, conn) else { return };
                let page = page_to_wire(account, device, &items, next);
                correlated(FrameType::Page, corr, &page)
            }
            ToConn::Result { corr, answer } => result(corr, answer),
            ToConn::Closed { code, text } => {
                self.forget_conn(conn);
                owner_item::Kind::Closed(Closed {
                    code: code.number().into(),
                    retry_after_ms: if code.number() >= 5000 { 500 } else { 0 },
                    text: text.to_owned(),
                })
            }
        };
        let bytes = match &kind {
            owner_item::Kind::Frame(frame) => 48 + frame.payload.len(),
            owner_item::Kind::Attached(_)
            | owner_item::Kind::Closed(_)
            | owner_item::Kind::Moved(_) => 64,
        };
        self.send_item(conn.link, conn.id, kind, bytes);
    }

    fn account_of(&self, shard: ShardId, conn: Conn) -> Option<iris_core::id::AccountId> {
        self.engine.shard(shard).and_then(|shard| shard.account_of(conn))
    }

    pub(super) fn answer(&mut self, token: Token, answer: DirectoryAnswer) {
        if let Some(asked) = self.questions.remove(&token) {
            // Whoever asked may have given up.
            let _ = asked.send(Answered::Shard(answer));
        }
    }

    pub(super) fn push(&self, from: ShardId, to: ShardId, items: Vec<OutboxItem>) {
        self.deps.metrics.pushed.inc_by(items.len() as u64);
        self.deps.router.push(from, to, items);
    }

    pub(super) fn confirm(
        &self,
        shard: ShardId,
        link: Option<LinkNo>,
        from: ShardId,
        upto: OutboxSeq,
    ) {
        match link {
            Some(link) => {
                self.to_source(link, from, shard, confirm_item::Kind::Confirmed(upto.0));
            }
            None => self.deps.router.tell(PeerNews::Confirmed { from, to: shard, upto }),
        }
    }

    pub(super) fn expect(
        &self,
        shard: ShardId,
        link: Option<LinkNo>,
        from: ShardId,
        next: OutboxSeq,
    ) {
        match link {
            Some(link) => self.to_source(link, from, shard, confirm_item::Kind::Expected(next.0)),
            None => self.deps.router.tell(PeerNews::Expected { from, to: shard, next }),
        }
    }

    fn to_source(&self, link: LinkNo, from: ShardId, to: ShardId, kind: confirm_item::Kind) {
        if let Some(source) = self.sources.get(&link) {
            let item =
                ConfirmItem { from_shard: from.into(), to_shard: to.into(), kind: Some(kind) };
            // A source that does not read its confirmations pushes again when it is back.
            source.push(item, 16);
        }
    }

    /// Parcels of other lanes and sessions; sources of those for shards that are not here are told so.
    pub(super) fn parcels(&mut self, link: Option<LinkNo>, parcels: Vec<Delivery>) {
        for Delivery { from, to, seq, parcel } in parcels {
            if self.engine.shard(to).is_some() {
                self.feed(to, Input::Parcel { link, from, seq, parcel });
            } else if let Some(link) = link {
                let known = self.moved.get(&to).cloned().unwrap_or_default();
                let session = known.session.map(|s| s.to_bytes().to_vec().into());
                let not_serving = NotServing {
                    epoch: known.epoch.0,
                    session: session.unwrap_or_default(),
                    address: known.address,
                };
                self.to_source(link, from, to, confirm_item::Kind::NotServing(not_serving));
            }
        }
    }

    /// Signals to shards; those that are not here are dropped: whoever signals does so again.
    pub(super) fn signals(&mut self, signals: Vec<(ShardId, Signal)>) {
        for (to, signal) in signals {
            self.feed(to, Input::Signal(signal));
        }
    }

    pub(super) fn peers(&mut self, news: Vec<PeerNews>) {
        for news in news {
            match news {
                PeerNews::Confirmed { from, to, upto } => {
                    self.feed(from, Input::Confirmed { to, upto });
                }
                PeerNews::Expected { from, to, next } => {
                    self.feed(from, Input::Expected { to, next });
                }
            }
        }
    }
}

fn frame(kind: FrameType, message: &impl prost::Message) -> owner_item::Kind {
    owner_item::Kind::Frame(Frame {
        r#type: kind.number().into(),
        payload: message.encode_to_vec().into(),
        ..Frame::default()
    })
}

fn result(corr: u32, answer: CallAnswer) -> owner_item::Kind {
    let (code, text, result) = match answer {
        CallAnswer::Done => (0, String::new(), None),
        CallAnswer::Refused(code, text) => (code.number(), text.to_owned(), None),
        CallAnswer::Devices(devices) => {
            let devices = devices.into_iter().map(|device| client::DeviceInfo {
                device: device.device.0,
                name: device.name,
                public_key: device.key.0.to_vec().into(),
                revoked: device.revoked,
                added_at_ms: device.added_at_ms,
            });
            let list = client::DeviceList { devices: devices.collect() };
            (0, String::new(), Some(client::call_result::Result::Devices(list)))
        }
        CallAnswer::Linked(device) => {
            let linked = client::DeviceLinked { device: device.0 };
            (0, String::new(), Some(client::call_result::Result::Linked(linked)))
        }
        CallAnswer::Wishes(relations) => {
            let wishes = wishes_to_wire(&relations);
            (0, String::new(), Some(client::call_result::Result::Wishes(wishes)))
        }
        CallAnswer::Groups(groups) => {
            let groups = memberships_to_wire(&groups);
            (0, String::new(), Some(client::call_result::Result::Groups(groups)))
        }
        CallAnswer::Roster(page) => {
            let roster = roster_to_wire(&page);
            (0, String::new(), Some(client::call_result::Result::Roster(roster)))
        }
    };
    let retry_after_ms = if code >= Code::OwnerMoving.number() { 200 } else { 0 };
    let result = client::CallResult { code: code.into(), text, retry_after_ms, result };
    correlated(FrameType::CallResult, corr, &result)
}

fn correlated(kind: FrameType, corr: u32, message: &impl prost::Message) -> owner_item::Kind {
    owner_item::Kind::Frame(Frame {
        r#type: kind.number().into(),
        corr,
        has_corr: true,
        payload: message.encode_to_vec().into(),
        ..Frame::default()
    })
}
