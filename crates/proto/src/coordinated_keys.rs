//! The names of what etcd keeps, below the region's prefix.

use iris_core::id::{SessionId, ShardId};

/// Every session that lives: bound to its lease.
pub const SESSIONS: &str = "session/";
/// What each session should acquire.
pub const ASSIGNMENTS: &str = "assign/";
/// Sessions that the leader declared dead and that still are in head rows.
pub const DEAD: &str = "dead/";
/// The active moves.
pub const MOVES: &str = "move/";
/// Who leads the control plane: bound to the leader's lease.
pub const LEADER: &str = "leader";
/// What the operator last sent of the shard map's wishes.
pub const PLACEMENT: &str = "placement";

/// The key of a session.
pub fn session(session: SessionId) -> String {
    format!("{SESSIONS}{session}")
}

/// The key of a session's assignment.
pub fn assignment(session: SessionId) -> String {
    format!("{ASSIGNMENTS}{session}")
}

/// The key of a dead session.
pub fn dead(session: SessionId) -> String {
    format!("{DEAD}{session}")
}

/// The key of a shard's active move. Padded, so that keys sort as shards do.
pub fn active_move(shard: ShardId) -> String {
    format!("{MOVES}{:05}", shard.get())
}

/// The session that a key below `prefix` names.
pub fn session_of(prefix: &str, key: &str) -> Option<SessionId> {
    key.strip_prefix(prefix)?.parse().ok()
}
