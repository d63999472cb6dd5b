//! Frames of a client: most are passed on as they are, a few are the edge's own business.

use std::future::Future;
use std::pin::Pin;

use bytes::{BufMut as _, BytesMut};
use iris_core::code::Code;
use iris_core::seq::InboxSeq;
use iris_proto::client;
use iris_proto::frame::{Frame, FrameType, encode_message};
use iris_proto::peer::{self, FindHandleRequest, edge_item};
use prost::Message as _;
use tokio::time::Instant;

use super::super::carrier::Sink;
use super::super::hello;
use super::attach::put_off;
use super::{Conn, End, decode, encode};

/// Look-ups of handles that a client may have under way.
const LOOKUPS_MAX: usize = 4;

type Lookup = Pin<Box<dyn Future<Output = (u32, client::CallResult)> + Send>>;

/// Look-ups of handles under way.
#[derive(Default)]
pub(super) struct Lookups {
    under_way: Vec<Lookup>,
}

impl Lookups {
    /// The next answer; never when nothing is under way.
    pub(super) async fn next(&mut self) -> (u32, client::CallResult) {
        if self.under_way.is_empty() {
            return std::future::pending().await;
        }
        let (answer, index, _) = futures::future::select_all(self.under_way.iter_mut()).await;
        drop(self.under_way.swap_remove(index));
        answer
    }
}

impl<W: Sink> Conn<'_, W> {
    /// Takes every whole frame that was read.
    pub(super) async fn take_input(&mut self, input: &mut BytesMut) -> Result<(), End> {
        while let Some(frame) = decode(input)? {
            self.shared.metrics.frames_in.inc();
            self.take_frame(frame).await?;
        }
        if input.is_empty() {
            // An idle connection keeps no buffer.
            *input = BytesMut::new();
        }
        Ok(())
    }

    async fn take_frame(&mut self, frame: Frame) -> Result<(), End> {
        match frame.known() {
            Some(
                FrameType::Send
                | FrameType::Ack
                | FrameType::Window
                | FrameType::Signal
                | FrameType::Receipt,
            ) => self.pass_to_owner(frame).await,
            Some(FrameType::Fetch | FrameType::Subscribe | FrameType::Unsubscribe) => {
                self.ask_owner(frame).await
            }
            Some(FrameType::Call) => self.call(frame).await,
            Some(FrameType::Ping) => self.pong(&frame).await,
            Some(FrameType::Pong) => Ok(()),
            Some(FrameType::AuthRefresh) => self.refresh_auth(&frame),
            Some(
                FrameType::Hello
                | FrameType::Welcome
                | FrameType::SendAck
                | FrameType::SendNack
                | FrameType::Deliver
                | FrameType::Page
                | FrameType::LogPage
                | FrameType::Challenge
                | FrameType::CallResult
                | FrameType::GoAway
                | FrameType::Error,
            ) => Err((Code::Protocol, "a frame that clients do not send here").into()),
            None if frame.is_ignorable() => Ok(()),
            None => Err((Code::Protocol, "an unknown type of frame").into()),
        }
    }

    /// Passes a frame to the owner as it is. Without one a send is put off, acks and credit are said when
    /// there is one, and the client says the rest again.
    async fn pass_to_owner(&mut self, frame: Frame) -> Result<(), End> {
        match frame.known() {
            Some(FrameType::Ack) => {
                let ack = client::Ack::decode(frame.payload.clone());
                let ack = ack.map_err(|_| End::from((Code::Protocol, "ACK cannot be decoded")))?;
                self.attachment.acked(InboxSeq(ack.inbox_seq));
            }
            Some(FrameType::Window) => {
                let more = client::Window::decode(frame.payload.clone());
                let more = more.map_err(|_| End::from((Code::Protocol, "an unusable WINDOW")))?;
                self.attachment.widened(&more);
            }
            _ => {}
        }
        if let Some(link) = self.attachment.served() {
            let bytes = 48 + frame.payload.len();
            let corr = frame.corr;
            let frame = peer::Frame {
                r#type: frame.kind.into(),
                corr: corr.unwrap_or_default(),
                has_corr: corr.is_some(),
                payload: frame.payload,
                ..peer::Frame::default()
            };
            link.send(self.attachment.number(), edge_item::Kind::Frame(frame), bytes);
            return Ok(());
        }
        if frame.known() == Some(FrameType::Send) && self.welcomed {
            let send = client::Send::decode(frame.payload);
            let send = send.map_err(|_| End::from((Code::Protocol, "SEND cannot be decoded")))?;
            self.attachment.lacks_answer(send.client_seq);
            return self.put_off_unanswered().await;
        }
        Ok(())
    }

    /// Tells a client that nobody serves to send again, from the lowest number without an answer on.
    pub(super) async fn put_off_unanswered(&mut self) -> Result<(), End> {
        let Some(client_seq) = self.attachment.take_put_off(Instant::now()) else { return Ok(()) };
        let mut out = BytesMut::new();
        put_off(client_seq, 500, &mut out);
        self.write(out.freeze(), 1).await
    }

    async fn call(&mut self, frame: Frame) -> Result<(), End> {
        let corr = frame.corr.ok_or(End::from((Code::Protocol, "CALL without correlation id")))?;
        let call = client::Call::decode(frame.payload.clone());
        let call = call.map_err(|_| End::from((Code::Protocol, "CALL cannot be decoded")))?;
        match call.op {
            Some(client::call::Op::FindAccount(find)) => {
                if self.lookups.under_way.len() >= LOOKUPS_MAX {
                    let busy = failed(Code::RateLimited, "too many look-ups at once", 200);
                    return self.answer_lookup((corr, busy)).await;
                }
                let lookup = self.look_up(corr, find.handle);
                self.lookups.under_way.push(lookup);
                Ok(())
            }
            // What is of a later version, too: the owner may be newer than this edge.
            _ => self.ask_owner(frame).await,
        }
    }

    /// Passes a question to the owner, or says that there is none now.
    async fn ask_owner(&mut self, frame: Frame) -> Result<(), End> {
        if self.attachment.served().is_some() {
            return self.pass_to_owner(frame).await;
        }
        let corr = frame.corr.ok_or(End::from((Code::Protocol, "it has no correlation id")))?;
        let moving = failed(Code::OwnerMoving, "the owner is changing: try again", 200);
        self.answer_lookup((corr, moving)).await
    }

    fn look_up(&self, corr: u32, handle: String) -> Lookup {
        let account = self.caller.device.account;
        let shard = account.shard(self.shared.config.shard_count);
        let directory = self.shared.links.directory(shard);
        let request = FindHandleRequest { tenant: String::new(), handle, shard: shard.into() };
        Box::pin(async move {
            let Some(mut directory) = directory else {
                return (corr, failed(Code::OwnerMoving, "the owner is changing: try again", 200));
            };
            let result = match directory.find_handle(request).await.map(|r| r.into_inner()) {
                Ok(reply) => match reply.failure {
                    None => client::CallResult {
                        result: Some(client::call_result::Result::Account(client::AccountFound {
                            account: reply.account,
                        })),
                        ..client::CallResult::default()
                    },
                    Some(failure) => client::CallResult {
                        code: failure.code,
                        text: failure.text,
                        retry_after_ms: failure.retry_after_ms,
                        result: None,
                    },
                },
                Err(_) => failed(Code::StoreUnavailable, "the directory does not answer", 500),
            };
            (corr, result)
        })
    }

    pub(super) async fn answer_lookup(
        &mut self,
        (corr, result): (u32, client::CallResult),
    ) -> Result<(), End> {
        let mut out = BytesMut::new();
        encode_message(&mut out, FrameType::CallResult, Some(corr), &result);
        self.write(out.freeze(), 1).await
    }

    async fn pong(&mut self, frame: &Frame) -> Result<(), End> {
        let ping = client::Ping::decode(frame.payload.clone());
        let ping = ping.map_err(|_| End::from((Code::Protocol, "PING cannot be decoded")))?;
        self.write(encode(FrameType::Pong, &ping), 1).await
    }

    fn refresh_auth(&mut self, frame: &Frame) -> Result<(), End> {
        let refresh = client::AuthRefresh::decode(frame.payload.clone());
        let refresh =
            refresh.map_err(|_| End::from((Code::Protocol, "AUTH_REFRESH cannot be decoded")))?;
        let now = self.shared.clock.now().wall;
        let (token, device) = (&refresh.access_token, self.caller.device);
        let expires = hello::check_refresh(token, device, &self.shared.tokens, now)?;
        self.caller.expires_at_s = expires;
        self.heard_at = Instant::now();
        Ok(())
    }
}

fn failed(code: Code, text: &str, retry_after_ms: u32) -> client::CallResult {
    let (code, text) = (code.number().into(), text.to_owned());
    client::CallResult { code, text, retry_after_ms, result: None }
}

/// Puts an owner's frame on the wire.
pub(super) fn pass_on(frame: peer::Frame, out: &mut BytesMut) {
    let kind = u8::try_from(frame.r#type).unwrap_or_default();
    let corr = frame.has_corr.then_some(frame.corr);
    out.reserve(frame.payload.len() + 16);
    Frame { kind, corr, payload: frame.payload }.encode(out);
    debug_assert!(out.remaining_mut() > 0);
}
