//! One client's connection.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::{Bytes, BytesMut};
use iris_client::key::{Binding, hello_input};
use iris_core::clock::WallMs;
use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceNo, PublicKey};
use iris_core::limits;
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_core::shard::{Attach, Attached, CallAnswer, Conn, Input, LinkNo, ToConn};
use iris_proto::client as wire;
use iris_proto::client_frames::{
    FromClient, PageOf, deliver_to_wire, fetch_from_wire, head_to_wire, list_members_from_wire,
    log_page_to_wire, memberships_to_wire, page_to_wire, presence_to_wire, receipt_from_wire,
    receipt_to_wire, roster_to_wire, send_from_wire, signal_from_wire, subscribe_from_wire,
    typing_to_wire, wish_from_wire, wishes_to_wire,
};
use iris_proto::frame::{Frame, FrameType, encode_message};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::directory::Access;
use super::edge::{Order, Shared};
use super::owner::Told;
use super::pipe::Pipe;

struct Connection<S> {
    shared: Arc<Shared>,
    pipe: Pipe<S>,
    out: BytesMut,
    account: AccountId,
    device: DeviceNo,
    until: Instant,
    conn: Conn,
    last: bool,
}

pub async fn serve<S>(shared: Arc<Shared>, mut pipe: Pipe<S>, binding: Option<Binding>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok((access, hello)) = greet(&shared, &mut pipe, binding).await else { return };
    let (account, device) = (access.device.account, access.device.device);
    let window = hello.window.unwrap_or_default();
    let attach = Attach {
        conn: Conn { link: LinkNo(0), id: 0 },
        account,
        device,
        cursor: InboxSeq(hello.cursor),
        delivered: InboxSeq(hello.cursor),
        stream_gen: hello.stream_gen,
        window_messages: window.messages,
        window_bytes: window.bytes,
        marks: hello.marks,
        begun: WallMs(iris_client::wall_ms()),
    };
    let (conn, told) = shared.owner.attach(attach);
    let mut connection = Connection {
        shared: Arc::clone(&shared),
        pipe,
        out: BytesMut::new(),
        account,
        device,
        until: access.until,
        conn,
        last: false,
    };
    // However it ends, the shard hears of it.
    connection.run(told).await;
    connection.pipe.close().await;
    shared.owner.detach(account, conn);
}

async fn greet<S>(
    shared: &Shared,
    pipe: &mut Pipe<S>,
    binding: Option<Binding>,
) -> Result<(Access, wire::Hello), ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let binding = match binding {
        Some(binding) => binding,
        None => {
            let mut nonce = [0; 32];
            fastrand::fill(&mut nonce);
            let challenge = wire::Challenge { nonce: Bytes::copy_from_slice(&nonce) };
            pipe.write(encoded(FrameType::Challenge, None, &challenge)).await.ok_or(())?;
            nonce
        }
    };
    let frames = pipe.read(limits::FRAME_BYTES_MAX).await.ok_or(())?;
    let frame = frames.into_iter().next().filter(|f| f.known() == Some(FrameType::Hello));
    let hello = wire::Hello::decode(frame.ok_or(())?.payload).map_err(|_| ())?;
    match check(shared, &hello, &binding) {
        Ok(access) => Ok((access, hello)),
        Err(code) => {
            let error = wire::Error { code: code.number().into(), ..wire::Error::default() };
            pipe.write(encoded(FrameType::Error, None, &error)).await;
            pipe.close().await;
            Err(())
        }
    }
}

fn check(shared: &Shared, hello: &wire::Hello, binding: &Binding) -> Result<Access, Code> {
    if hello.proto_min > 1 || hello.proto_max < 1 {
        return Err(Code::UnsupportedVersion);
    }
    let access = shared.directory.access(&hello.access_token).ok_or(Code::AuthInvalid)?;
    if access.until <= Instant::now() {
        return Err(Code::AuthExpired);
    }
    let input = hello_input(binding, access.device.account, access.device.device);
    let proven = UnparsedPublicKey::new(&ED25519, access.key.0).verify(&input, &hello.proof);
    proven.map_err(|_| Code::DeviceProof)?;
    if hello.device == access.device.device.0 { Ok(access) } else { Err(Code::DeviceProof) }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self, mut told: mpsc::Receiver<Told>) {
        let mut orders = self.shared.orders.subscribe();
        while !self.last {
            let expiry = sleep_until(self.until);
            tokio::select! {
                frames = self.pipe.read(limits::FRAME_BYTES_MAX) => match frames {
                    Some(frames) => self.received(frames),
                    None => return,
                },
                what = told.recv() => match what {
                    Some(what) => {
                        self.told(what);
                        while let Ok(what) = told.try_recv() {
                            self.told(what);
                        }
                    }
                    None => return,
                },
                Ok(order) = orders.recv() => {
                    if self.obey(order).is_none() {
                        return;
                    }
                }
                () = expiry => self.error(Code::AuthExpired.number().into(), 0),
            }
            if !self.out.is_empty() && self.pipe.write(self.out.split().freeze()).await.is_none() {
                return;
            }
        }
    }

    fn received(&mut self, frames: Vec<Frame>) {
        let shared = Arc::clone(&self.shared);
        let mut inputs = Vec::with_capacity(frames.len());
        for frame in frames {
            self.frame(frame, &mut inputs);
        }
        let account = self.account;
        shared.owner.with(|state| {
            inputs.into_iter().for_each(|input| state.input(account, input));
        });
    }

    fn frame(&mut self, frame: Frame, inputs: &mut Vec<Input>) {
        let conn = self.conn;
        match frame.known().unwrap() {
            FrameType::Send => {
                let send = send_from_wire(wire::Send::decode(frame.payload).unwrap()).unwrap();
                if self.shared.knobs.mute.load(Relaxed) {
                } else if one_in(&self.shared.knobs.nack_one_in) {
                    self.nack(send.client_seq);
                } else {
                    inputs.push(Input::Send { conn, send });
                }
            }
            FrameType::Ack => {
                let seq = InboxSeq(wire::Ack::decode(frame.payload).unwrap().inbox_seq);
                inputs.push(Input::Ack { conn, seq });
            }
            FrameType::Window => {
                let window = wire::Window::decode(frame.payload).unwrap();
                self.shared.knobs.widened.fetch_add(window.messages.into(), Relaxed);
                let (messages, bytes) = (window.messages, window.bytes);
                inputs.push(Input::Window { conn, messages, bytes });
            }
            FrameType::Ping => {
                let ping = wire::Ping::decode(frame.payload).unwrap();
                self.push(FrameType::Pong, None, &ping);
            }
            FrameType::AuthRefresh => {
                let token = wire::AuthRefresh::decode(frame.payload).unwrap().access_token;
                match self.shared.directory.access(&token) {
                    Some(access) if access.device.device == self.device => {
                        self.until = access.until;
                    }
                    _ => self.error(Code::AuthInvalid.number().into(), 0),
                }
            }
            FrameType::Fetch => {
                let fetch = wire::Fetch::decode(frame.payload).unwrap();
                let (corr, fetch) = (frame.corr.unwrap(), fetch_from_wire(fetch).unwrap());
                inputs.push(match fetch {
                    PageOf::History(fetch) => Input::Fetch { conn, corr, fetch },
                    PageOf::Log(fetch) => Input::FetchLog { conn, corr, fetch },
                });
            }
            kind @ (FrameType::Subscribe | FrameType::Unsubscribe) => {
                let subscribe = wire::Subscribe::decode(frame.payload).unwrap();
                let accounts = subscribe_from_wire(subscribe).unwrap();
                let (corr, on) = (frame.corr.unwrap(), kind == FrameType::Subscribe);
                inputs.push(Input::Subscribe { conn, corr, accounts, on });
            }
            FrameType::Receipt => {
                let receipt = wire::Receipt::decode(frame.payload).unwrap();
                let reads = receipt_from_wire(receipt).unwrap().into_iter();
                inputs.extend(reads.map(|(conversation, upto, private)| Input::Read {
                    conn,
                    conversation,
                    upto,
                    private,
                }));
            }
            FrameType::Signal => {
                let signal = wire::Signal::decode(frame.payload).unwrap();
                inputs.push(match signal_from_wire(signal).unwrap().unwrap() {
                    FromClient::Types(to, kind) => Input::Types { conn, to, kind },
                    FromClient::Away(away) => Input::Away { conn, away },
                });
            }
            FrameType::Call => self.call(frame.corr.unwrap(), frame.payload, inputs),
            FrameType::Pong => {}
            other => panic!("a client sent {other:?}"),
        }
    }

    fn nack(&mut self, client_seq: ClientSeq) {
        self.shared.knobs.nacked.fetch_add(1, Relaxed);
        let nack = wire::SendNack {
            client_seq: client_seq.0,
            code: Code::Overloaded.number().into(),
            retry_after_ms: self.shared.knobs.nack_retry_ms.load(Relaxed),
            detail: String::new(),
        };
        self.push(FrameType::SendNack, None, &nack);
    }

    fn call(&mut self, corr: u32, payload: Bytes, inputs: &mut Vec<Input>) {
        let conn = self.conn;
        match wire::Call::decode(payload).unwrap().op.unwrap() {
            wire::call::Op::ListDevices(_) => inputs.push(Input::ListDevices { conn, corr }),
            wire::call::Op::RevokeDevice(revoke) => {
                let device = DeviceNo(revoke.device);
                inputs.push(Input::RevokeDevice { conn, corr, device });
            }
            wire::call::Op::LinkDevice(link) => {
                let key = PublicKey::from_bytes(&link.public_key).unwrap();
                inputs.push(Input::LinkDevice { conn, corr, key, name: link.name });
            }
            wire::call::Op::Wish(wish) => {
                let wish = wish_from_wire(wish).unwrap();
                inputs.push(Input::Wish { conn, corr, wish });
            }
            wire::call::Op::ListWishes(_) => inputs.push(Input::ListWishes { conn, corr }),
            wire::call::Op::ListGroups(_) => inputs.push(Input::ListGroups { conn, corr }),
            wire::call::Op::ListMembers(list) => {
                let (group, after) = list_members_from_wire(&list).unwrap();
                inputs.push(Input::Roster { conn, corr, group, after });
            }
            wire::call::Op::FindAccount(find) => {
                let result = match self.shared.directory.find(&find.handle) {
                    Some(account) => wire::CallResult {
                        result: Some(wire::call_result::Result::Account(wire::AccountFound {
                            account: Bytes::copy_from_slice(&account.to_bytes()),
                        })),
                        ..wire::CallResult::default()
                    },
                    None => refused(Code::NotFound, "no such user"),
                };
                self.push(FrameType::CallResult, Some(corr), &result);
            }
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Moved(next) => {
                let code = Code::OwnerMoving.number().into();
                let nack = wire::SendNack { client_seq: next, code, ..wire::SendNack::default() };
                self.push(FrameType::SendNack, None, &nack);
                let changed = wire::signal::Kind::OwnerChanged(wire::OwnerChanged {});
                let signal = wire::Signal { kind: Some(changed) };
                self.push(FrameType::Signal, None, &signal);
            }
            Told::Frame(what) => self.tell(what),
        }
        if one_in(&self.shared.knobs.cut_one_in) {
            self.shared.knobs.cuts.fetch_add(1, Relaxed);
            // What is in the buffer may or may not arrive.
            if fastrand::bool() {
                self.out.clear();
            }
            self.last = true;
        }
    }

    fn tell(&mut self, what: ToConn) {
        match what {
            ToConn::Attached(attached) => self.welcome(&attached),
            ToConn::SendAck { client_seq, refusals } => {
                let refusals = refusals.into_iter().map(|(seq, code)| wire::Refusal {
                    client_seq: seq.0,
                    code: code.number().into(),
                });
                let ack = wire::SendAck {
                    client_seq: client_seq.0,
                    server_time_ms: iris_client::wall_ms(),
                    refusals: refusals.collect(),
                };
                self.push(FrameType::SendAck, None, &ack);
            }
            ToConn::SendNack { client_seq, code, retry_after_ms } => {
                let code = code.number().into();
                let client_seq = client_seq.0;
                let nack =
                    wire::SendNack { client_seq, code, retry_after_ms, detail: String::new() };
                self.push(FrameType::SendNack, None, &nack);
            }
            ToConn::Deliver { device, items } => {
                let mut deliver = deliver_to_wire(self.account, device, &items);
                if self.shared.knobs.skip_place.swap(false, Relaxed) {
                    deliver.first_inbox_seq += 1;
                }
                self.push(FrameType::Deliver, None, &deliver);
            }
            ToConn::Marks { marks, version } => {
                self.push(FrameType::Receipt, None, &receipt_to_wire(&marks, version));
            }
            ToConn::Presence { of, presence } => {
                self.push(FrameType::Signal, None, &presence_to_wire(of, presence));
            }
            ToConn::Typing(typing) => {
                self.push(FrameType::Signal, None, &typing_to_wire(typing));
            }
            ToConn::Page { corr, device, items, next } => {
                let page = page_to_wire(self.account, device, &items, next);
                self.push(FrameType::Page, Some(corr), &page);
            }
            ToConn::Head { group, head } => {
                self.push(FrameType::Signal, None, &head_to_wire(group, head));
            }
            ToConn::LogPage { corr, device, messages, more } => {
                let page = log_page_to_wire(self.account, device, &messages, more);
                self.push(FrameType::LogPage, Some(corr), &page);
            }
            ToConn::Result { corr, answer } => {
                self.push(FrameType::CallResult, Some(corr), &call_result(answer));
            }
            ToConn::Closed { code, text } => {
                let error = wire::Error {
                    code: code.number().into(),
                    text: text.to_owned(),
                    ..wire::Error::default()
                };
                self.push(FrameType::Error, None, &error);
                self.last = true;
            }
        }
    }

    fn welcome(&mut self, attached: &Attached) {
        let resume =
            if attached.snapshot_needed { wire::Resume::SnapshotNeeded } else { wire::Resume::Ok };
        let knobs = &self.shared.knobs;
        let welcome = wire::Welcome {
            connection_id: self.conn.id,
            server_time_ms: iris_client::wall_ms(),
            proto: 1,
            resume: resume.into(),
            stream_gen: attached.stream_gen,
            start: attached.start.0,
            head: attached.head.0,
            floor: attached.floor.0,
            next_client_seq: attached.next_client_seq.0 + knobs.numbers_ahead.load(Relaxed),
            keepalive_ms: knobs.keepalive_ms.load(Relaxed),
            limits: Some(wire::Limits {
                frame_bytes_max: limits::FRAME_BYTES_MAX,
                body_bytes_max: u32::try_from(limits::BODY_BYTES_MAX).unwrap(),
                sends_in_flight_max: knobs.window_messages.load(Relaxed),
            }),
            window: Some(wire::Window {
                messages: knobs.window_messages.load(Relaxed),
                bytes: limits::SENDS_IN_FLIGHT_BYTES_MAX,
            }),
        };
        self.push(FrameType::Welcome, None, &welcome);
        self.last = attached.snapshot_needed;
    }

    fn obey(&mut self, order: Order) -> Option<()> {
        match order {
            Order::Cut => return None,
            Order::GoAway { jitter_ms, edges } => {
                let code = Code::GoingAway.number().into();
                let go = wire::GoAway { code, jitter_ms, preferred_edges: edges };
                self.push(FrameType::GoAway, None, &go);
            }
            Order::Error { code, retry_after_ms } => self.error(code, retry_after_ms),
            // A header that announces more than any limit allows.
            Order::Oversized => self.out.extend_from_slice(&[0xff, 0xff, 0xff, 0x06, 0]),
            Order::Unknown(kind) => {
                Frame { kind, corr: None, payload: Bytes::new() }.encode(&mut self.out);
            }
        }
        Some(())
    }

    fn error(&mut self, code: u32, retry_after_ms: u32) {
        let error = wire::Error { code, retry_after_ms, ..wire::Error::default() };
        self.push(FrameType::Error, None, &error);
        self.last = true;
    }

    fn push(&mut self, kind: FrameType, corr: Option<u32>, message: &impl Message) {
        encode_message(&mut self.out, kind, corr, message);
    }
}

fn call_result(answer: CallAnswer) -> wire::CallResult {
    match answer {
        CallAnswer::Done => wire::CallResult::default(),
        CallAnswer::Refused(code, text) => refused(code, text),
        CallAnswer::Linked(device) => wire::CallResult {
            result: Some(wire::call_result::Result::Linked(wire::DeviceLinked {
                device: device.0,
            })),
            ..wire::CallResult::default()
        },
        CallAnswer::Wishes(wishes) => wire::CallResult {
            result: Some(wire::call_result::Result::Wishes(wishes_to_wire(&wishes))),
            ..wire::CallResult::default()
        },
        CallAnswer::Groups(groups) => wire::CallResult {
            result: Some(wire::call_result::Result::Groups(memberships_to_wire(&groups))),
            ..wire::CallResult::default()
        },
        CallAnswer::Roster(page) => wire::CallResult {
            result: Some(wire::call_result::Result::Roster(roster_to_wire(&page))),
            ..wire::CallResult::default()
        },
        CallAnswer::Devices(devices) => {
            let devices = devices.into_iter().map(|device| wire::DeviceInfo {
                device: device.device.0,
                name: device.name,
                public_key: Bytes::copy_from_slice(&device.key.0),
                revoked: device.revoked,
                added_at_ms: device.added_at_ms,
            });
            let list = wire::DeviceList { devices: devices.collect() };
            let result = Some(wire::call_result::Result::Devices(list));
            wire::CallResult { result, ..wire::CallResult::default() }
        }
    }
}

fn refused(code: Code, text: &str) -> wire::CallResult {
    let text = text.to_owned();
    wire::CallResult { code: code.number().into(), text, ..wire::CallResult::default() }
}

fn one_in(knob: &std::sync::atomic::AtomicU32) -> bool {
    let n = knob.load(Relaxed);
    n > 0 && fastrand::u32(..n) == 0
}

fn encoded(kind: FrameType, corr: Option<u32>, message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    encode_message(&mut out, kind, corr, message);
    out.freeze()
}
