//! One stream to a lane of an owner session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use iris_core::id::{LaneNo, SessionId, ShardId};
use iris_core::seq::Epoch;
use iris_proto::peer::edge_link_client::EdgeLinkClient;
use iris_proto::peer::{
    Attached, Closed, EdgeBatch, EdgeItem, Frame, LinkOpen, Moved, OwnerItem, edge_item, owner_item,
};
use iris_runtime::rpc;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::queue::{Pushed, Queue};
use crate::route::Routes;

/// What a stream brings to one client.
#[derive(Debug)]
pub(in crate::edge) enum ToClient {
    /// The owner serves it.
    Attached(Attached),
    /// A frame for the client, as it is.
    Frame(Frame),
    /// The owner ended its service.
    Closed(Closed),
    /// The shard is, or will be, elsewhere.
    Moved,
    /// The stream broke.
    Lost,
}

/// What waits for one client, with the number of the attachment that it is from.
#[derive(Debug, Default)]
pub(in crate::edge) struct Mailbox {
    waiting: Mutex<VecDeque<(u64, ToClient)>>,
    news: Notify,
}

impl Mailbox {
    pub(in crate::edge) fn put(&self, number: u64, item: ToClient) {
        self.waiting.lock().push_back((number, item));
        self.news.notify_one();
    }

    pub(in crate::edge) fn take(&self) -> VecDeque<(u64, ToClient)> {
        std::mem::take(&mut *self.waiting.lock())
    }

    pub(in crate::edge) async fn news(&self) {
        self.news.notified().await;
    }
}

/// A client of a stream.
#[derive(Debug)]
struct Member {
    shard: ShardId,
    mailbox: Arc<Mailbox>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::edge) struct Link {
    out: Queue<EdgeItem>,
    members: Mutex<BTreeMap<u64, Member>>,
    caught_up: Notify,
}

impl Link {
    pub(super) fn new() -> Self {
        let (members, caught_up) = (Mutex::default(), Notify::new());
        Self { out: Queue::new(), members, caught_up }
    }

    pub(in crate::edge) fn is_closed(&self) -> bool {
        self.out.is_closed()
    }

    pub(super) fn close(&self) {
        self.out.close();
    }

    /// Adds a client; what the owner says to it goes into the mailbox. False when the stream is closed.
    pub(in crate::edge) fn join(&self, conn: u64, shard: ShardId, mailbox: Arc<Mailbox>) -> bool {
        self.members.lock().insert(conn, Member { shard, mailbox });
        if self.is_closed() {
            self.members.lock().remove(&conn);
            return false;
        }
        true
    }

    /// Removes a client.
    pub(in crate::edge) fn leave(&self, conn: u64) {
        self.members.lock().remove(&conn);
    }

    /// Sends an item that weighs `bytes`.
    pub(in crate::edge) fn send(&self, conn: u64, kind: edge_item::Kind, bytes: usize) {
        if self.out.push(EdgeItem { conn, kind: Some(kind) }, bytes) == Pushed::Gone {
            tracing::debug!(conn, "an item for a stream that is closed");
        }
    }

    /// Whether the owner is behind: its clients' sockets are not read meanwhile.
    pub(in crate::edge) fn is_congested(&self) -> bool {
        self.out.is_congested()
    }

    /// Waits until the owner may have caught up.
    pub(in crate::edge) async fn caught_up(&self) {
        self.caught_up.notified().await;
    }

    /// Runs the stream to its end; answers why it ended.
    pub(super) async fn run(
        self: &Arc<Self>,
        channel: Channel,
        (session, lane): (SessionId, LaneNo),
        pod: String,
        routes: Arc<Routes>,
    ) -> String {
        let open = LinkOpen {
            edge: pod,
            session: session.to_bytes().to_vec().into(),
            lane: lane.0.into(),
        };
        let why = self.pump(channel, open, &routes).await;
        self.out.close();
        self.caught_up.notify_waiters();
        let members = std::mem::take(&mut *self.members.lock());
        for (number, member) in members {
            member.mailbox.put(number, ToClient::Lost);
        }
        why
    }

    async fn pump(self: &Arc<Self>, channel: Channel, open: LinkOpen, routes: &Routes) -> String {
        let mut client =
            EdgeLinkClient::new(channel).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX);
        let mut batches = match client.link(batches(open, Arc::clone(self))).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status.to_string(),
        };
        loop {
            let batch = tokio::select! {
                batch = batches.message() => batch,
                () = closed(&self.out) => return "the session is gone".to_owned(),
            };
            match batch {
                Ok(Some(batch)) => batch.items.into_iter().for_each(|item| self.take(item, routes)),
                Ok(None) => return "closed by the owner".to_owned(),
                Err(status) => return status.to_string(),
            }
        }
    }

    fn take(&self, item: OwnerItem, routes: &Routes) {
        let (conn, Some(kind)) = (item.conn, item.kind) else { return };
        let to_client = match kind {
            owner_item::Kind::Attached(attached) => ToClient::Attached(attached),
            owner_item::Kind::Frame(frame) => ToClient::Frame(frame),
            owner_item::Kind::Closed(closed) => {
                self.hand(conn, ToClient::Closed(closed));
                return self.leave(conn);
            }
            owner_item::Kind::Moved(moved) => return self.moved(conn, &moved, routes),
        };
        self.hand(conn, to_client);
    }

    fn hand(&self, conn: u64, item: ToClient) {
        if let Some(member) = self.members.lock().get(&conn) {
            member.mailbox.put(conn, item);
        }
    }

    /// A shard went elsewhere: its clients go there too.
    fn moved(&self, conn: u64, moved: &Moved, routes: &Routes) {
        let Ok(shard) = routes.shard_count().shard(moved.shard) else { return };
        let session = SessionId::from_bytes(&moved.session).ok();
        if moved.epoch > 0 && session.is_some() {
            routes.learn(shard, Epoch(moved.epoch), session);
        }
        let mut members = self.members.lock();
        let leaves =
            |id: u64, member: &Member| if conn == 0 { member.shard == shard } else { id == conn };
        let leaving: Vec<_> =
            members.iter().filter(|(id, member)| leaves(**id, member)).map(|(id, _)| *id).collect();
        for id in leaving {
            if let Some(member) = members.remove(&id) {
                member.mailbox.put(id, ToClient::Moved);
            }
        }
    }
}

async fn closed(queue: &Queue<EdgeItem>) {
    // Asked now and then: a stream is closed once in its life.
    while !queue.is_closed() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn batches(
    open: LinkOpen,
    link: Arc<Link>,
) -> impl futures::Stream<Item = EdgeBatch> + Send + 'static {
    let first = EdgeBatch { open: Some(open), ..EdgeBatch::default() };
    let rest = futures::stream::unfold(link, |link| async move {
        let (items, caught_up) = link.out.take().await?;
        if caught_up {
            link.caught_up.notify_waiters();
        }
        Some((EdgeBatch { items, ..EdgeBatch::default() }, link))
    });
    futures::StreamExt::chain(futures::stream::iter([first]), rest)
}
