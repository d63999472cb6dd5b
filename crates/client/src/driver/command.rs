//! What the application asks of its driver.

use std::collections::BTreeMap;

use iris_core::id::AccountId;
use iris_core::mark::Mark;
use iris_core::message::Address;
use iris_core::seq::ClientSeq;
use tokio::sync::oneshot;

use crate::error::ClientError;
use crate::groups::Groups;
use crate::place::Place;
use crate::session::{CallAnswer, CallOp, CalledOff, Draft, Input, Outcome};
use crate::store::StoreError;

/// A message was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Under this number of the device.
    pub client_seq: ClientSeq,
    /// Like this.
    pub outcome: Outcome,
}

pub(crate) type DecidedReply = Result<Decided, ClientError>;
pub(crate) type CallReply = Result<CallAnswer, CalledOff>;

/// See the module.
pub(crate) enum Command {
    Send {
        draft: Box<Draft>,
        receipt: Option<oneshot::Sender<DecidedReply>>,
    },
    Call {
        op: CallOp,
        patience_ms: u64,
        reply: oneshot::Sender<CallReply>,
    },
    History {
        count: usize,
        with: Option<Address>,
        reply: oneshot::Sender<Vec<Place>>,
    },
    Marks {
        reply: oneshot::Sender<BTreeMap<AccountId, Mark>>,
    },
    Groups {
        reply: oneshot::Sender<Groups>,
    },
    /// Answered once the server knows everything that was read.
    ReadsSaid {
        reply: oneshot::Sender<()>,
    },
    /// What the session is told, without an answer.
    Tell(Input),
    Reconnect,
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}
