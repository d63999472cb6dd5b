//! Client frames to inputs of shards. Every field of every frame is checked here, where the first part
//! of Iris decodes it; what is wrong ends its connection and nothing else.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceNo, PublicKey, ShardCount, ShardId};
use iris_core::limits;
use iris_core::seq::InboxSeq;
use iris_core::shard::{Attach, Conn, Input, LinkNo};
use iris_proto::client_frames::{
    FromClient, PageOf, fetch_from_wire, list_members_from_wire, receipt_from_wire, send_from_wire,
    signal_from_wire, subscribe_from_wire, wish_from_wire,
};
use iris_proto::frame::{FrameType, is_ignorable};
use iris_proto::peer::{self, Closed, EdgeItem, Frame, OwnerItem, edge_item, owner_item};
use iris_proto::{FormatError, client};
use prost::Message as _;

use super::super::inputs::Refusal;
use super::super::metrics::OwnerMetrics;
use crate::queue::Queue;

/// Converts one stream's items; it knows which shard each connection belongs to.
pub(super) struct Converter {
    link: LinkNo,
    count: ShardCount,
    conns: BTreeMap<u64, ShardId>,
    out: Arc<Queue<OwnerItem>>,
    metrics: OwnerMetrics,
}

impl Converter {
    pub(super) fn new(
        link: LinkNo,
        count: ShardCount,
        out: Arc<Queue<OwnerItem>>,
        metrics: OwnerMetrics,
    ) -> Self {
        Self { link, count, conns: BTreeMap::new(), out, metrics }
    }

    pub(super) fn convert(&mut self, items: Vec<EdgeItem>) -> Vec<(ShardId, Input)> {
        let mut inputs = Vec::with_capacity(items.len());
        for item in items {
            let conn = Conn { link: self.link, id: item.conn };
            match self.convert_one(conn, item.kind, &mut inputs) {
                Ok(()) => {}
                Err(refusal) => {
                    self.refuse(item.conn, refusal);
                    if let Some(shard) = self.conns.remove(&item.conn) {
                        inputs.push((shard, Input::Detach { conn }));
                    }
                }
            }
        }
        inputs
    }

    fn convert_one(
        &mut self,
        conn: Conn,
        kind: Option<edge_item::Kind>,
        inputs: &mut Vec<(ShardId, Input)>,
    ) -> Result<(), Refusal> {
        match kind {
            Some(edge_item::Kind::Attach(attach)) => {
                let attach = attach_from_wire(conn, attach).map_err(|_| protocol("attach"))?;
                let shard = attach.account.shard(self.count);
                self.conns.insert(conn.id, shard);
                inputs.push((shard, Input::Attach(attach)));
            }
            Some(edge_item::Kind::Detach(peer::Detach {})) => {
                let shard = self.conns.remove(&conn.id);
                inputs.extend(shard.map(|shard| (shard, Input::Detach { conn })));
            }
            Some(edge_item::Kind::Frame(frame)) => {
                // A frame behind its connection's end is late, not wrong.
                let Some(shard) = self.conns.get(&conn.id).copied() else { return Ok(()) };
                if frame.r#type == u32::from(FrameType::Receipt.number()) {
                    let reads = reads_of(conn, frame)?;
                    inputs.extend(reads.into_iter().map(|read| (shard, read)));
                } else if let Some(input) = input_from_frame(conn, frame)? {
                    inputs.push((shard, input));
                }
            }
            None => {}
        }
        Ok(())
    }

    fn refuse(&self, conn: u64, refusal: Refusal) {
        self.metrics.protocol_errors.inc();
        let closed = Closed {
            code: refusal.code.number().into(),
            retry_after_ms: refusal.retry_after_ms,
            text: refusal.text.to_owned(),
        };
        self.out.push(OwnerItem { conn, kind: Some(owner_item::Kind::Closed(closed)) }, 64);
    }
}

fn attach_from_wire(conn: Conn, attach: peer::Attach) -> Result<Attach, FormatError> {
    Ok(Attach {
        conn,
        account: AccountId::from_bytes(&attach.account)?,
        device: DeviceNo(attach.device),
        cursor: InboxSeq(attach.cursor),
        delivered: InboxSeq(attach.delivered),
        stream_gen: attach.stream_gen,
        window_messages: attach.window_messages.min(limits::WINDOW_MESSAGES_MAX),
        window_bytes: attach.window_bytes.min(limits::WINDOW_BYTES_MAX),
        marks: attach.marks,
        begun: WallMs(attach.begun_ms),
    })
}

/// What a RECEIPT says was read, each conversation for itself.
fn reads_of(conn: Conn, frame: Frame) -> Result<Vec<Input>, Refusal> {
    let receipt: client::Receipt = decode(frame.payload, "RECEIPT")?;
    let marks = receipt_from_wire(receipt).map_err(|_| protocol("a field of RECEIPT"))?;
    let read = |(conversation, upto, private)| Input::Read { conn, conversation, upto, private };
    Ok(marks.into_iter().map(read).collect())
}

/// What a frame asks of the shard; nothing for one that the shard need not know of.
fn input_from_frame(conn: Conn, frame: Frame) -> Result<Option<Input>, Refusal> {
    let kind = u8::try_from(frame.r#type).ok().and_then(FrameType::from_number);
    match kind {
        Some(FrameType::Send) => {
            let send = client::Send::decode(frame.payload).map_err(|_| protocol("SEND"))?;
            let send = send_from_wire(send).map_err(|_| protocol("a field of SEND"))?;
            Ok(Some(Input::Send { conn, send }))
        }
        Some(FrameType::Ack) => {
            let ack: client::Ack = decode(frame.payload, "ACK")?;
            Ok(Some(Input::Ack { conn, seq: InboxSeq(ack.inbox_seq) }))
        }
        Some(FrameType::Window) => {
            let window: client::Window = decode(frame.payload, "WINDOW")?;
            let (messages, bytes) = (window.messages, window.bytes);
            Ok(Some(Input::Window { conn, messages, bytes }))
        }
        Some(FrameType::Call) => {
            let corr = corr_of(&frame, "CALL without a correlation id")?;
            let call: client::Call = decode(frame.payload, "CALL")?;
            call_input(conn, corr, call)
        }
        Some(FrameType::Fetch) => {
            let corr = corr_of(&frame, "FETCH without a correlation id")?;
            let fetch: client::Fetch = decode(frame.payload, "FETCH")?;
            let fetch = fetch_from_wire(fetch).map_err(|_| protocol("a field of FETCH"))?;
            Ok(Some(match fetch {
                PageOf::History(fetch) => Input::Fetch { conn, corr, fetch },
                PageOf::Log(fetch) => Input::FetchLog { conn, corr, fetch },
            }))
        }
        Some(kind @ (FrameType::Subscribe | FrameType::Unsubscribe)) => {
            let corr = corr_of(&frame, "SUBSCRIBE without a correlation id")?;
            let subscribe: client::Subscribe = decode(frame.payload, "SUBSCRIBE")?;
            let accounts =
                subscribe_from_wire(subscribe).map_err(|_| protocol("a field of SUBSCRIBE"))?;
            let on = kind == FrameType::Subscribe;
            Ok(Some(Input::Subscribe { conn, corr, accounts, on }))
        }
        Some(FrameType::Signal) => {
            let signal: client::Signal = decode(frame.payload, "SIGNAL")?;
            let signal = signal_from_wire(signal).map_err(|_| protocol("a field of SIGNAL"))?;
            Ok(signal.map(|signal| match signal {
                FromClient::Types(to, kind) => Input::Types { conn, to, kind },
                FromClient::Away(away) => Input::Away { conn, away },
            }))
        }
        Some(
            FrameType::Hello
            | FrameType::Welcome
            | FrameType::SendAck
            | FrameType::SendNack
            | FrameType::Deliver
            | FrameType::Page
            | FrameType::LogPage
            | FrameType::Receipt
            | FrameType::Challenge
            | FrameType::CallResult
            | FrameType::Ping
            | FrameType::Pong
            | FrameType::AuthRefresh
            | FrameType::GoAway
            | FrameType::Error,
        ) => Err(protocol("a frame that clients do not send here")),
        // An edge of a later version may pass on what it knows and this owner may skip.
        None if is_ignorable(frame.r#type) => Ok(None),
        None => Err(protocol("an unknown type of frame")),
    }
}

fn call_input(conn: Conn, corr: u32, call: client::Call) -> Result<Option<Input>, Refusal> {
    match call.op {
        Some(client::call::Op::ListDevices(client::ListDevices {})) => {
            Ok(Some(Input::ListDevices { conn, corr }))
        }
        Some(client::call::Op::RevokeDevice(revoke)) => {
            let device = DeviceNo(revoke.device);
            Ok(Some(Input::RevokeDevice { conn, corr, device }))
        }
        Some(client::call::Op::LinkDevice(link)) => {
            let key = PublicKey::from_bytes(&link.public_key);
            let key = key.map_err(|_| protocol("a field of LINK_DEVICE"))?;
            Ok(Some(Input::LinkDevice { conn, corr, key, name: link.name }))
        }
        Some(client::call::Op::Wish(wish)) => {
            let wish = wish_from_wire(wish).map_err(|_| protocol("a field of a wish"))?;
            Ok(Some(Input::Wish { conn, corr, wish }))
        }
        Some(client::call::Op::ListWishes(client::ListWishes {})) => {
            Ok(Some(Input::ListWishes { conn, corr }))
        }
        Some(client::call::Op::ListGroups(client::ListGroups {})) => {
            Ok(Some(Input::ListGroups { conn, corr }))
        }
        Some(client::call::Op::ListMembers(list)) => {
            let part = list_members_from_wire(&list);
            let (group, after) = part.map_err(|_| protocol("a field of LIST_MEMBERS"))?;
            Ok(Some(Input::Roster { conn, corr, group, after }))
        }
        // Handles are looked up by the edge, in the directory.
        Some(client::call::Op::FindAccount(_)) => Err(protocol("a CALL for the edge")),
        None => Ok(Some(Input::AskUnknown { conn, corr })),
    }
}

fn corr_of(frame: &Frame, without: &'static str) -> Result<u32, Refusal> {
    frame.has_corr.then_some(frame.corr).ok_or(protocol(without))
}

fn decode<T: prost::Message + Default>(payload: Bytes, what: &'static str) -> Result<T, Refusal> {
    T::decode(payload).map_err(|_| protocol(what))
}

fn protocol(text: &'static str) -> Refusal {
    Refusal { code: Code::Protocol, text, retry_after_ms: 0 }
}
