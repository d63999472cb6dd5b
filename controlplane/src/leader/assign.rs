//! Assignments, as owners follow them.

use iris_coord::{CoordError, Write};
use iris_core::id::SessionId;
use iris_core::ranges::ranges_of;
use iris_proto::coordinated::{Assignment, ShardRange};
use iris_proto::coordinated_keys as keys;
use prost::Message as _;

use super::Leader;
use crate::model::Assigned;

impl Leader {
    /// Writes the assignments that changed, and removes those of sessions that are gone.
    pub(super) async fn write_assignments(&self) -> Result<(), CoordError> {
        let wanted = self.see(crate::model::Model::assignments);
        let (mut writes, mut done) = (Vec::new(), Vec::new());
        {
            let written = self.written.lock();
            for (session, assigned) in wanted {
                let known = written.get(&session);
                if known.is_none() && assigned == Assigned::default() {
                    continue;
                }
                if known.is_none_or(|(_, known)| *known != assigned) {
                    let revision = known.map_or(1, |(revision, _)| revision + 1);
                    writes.push(put(session, revision, self.term, &assigned));
                    done.push((session, Some((revision, assigned))));
                }
            }
            let live = |session: &SessionId| self.see(|m| m.members().contains_key(session));
            for session in written.keys().filter(|session| !live(session)) {
                writes.push(Write::Delete { key: keys::assignment(*session) });
                done.push((*session, None));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        // etcd takes a bounded number of writes at once; each assignment stands for itself.
        for some in writes.chunks(64) {
            self.commit(some.to_vec()).await?;
        }
        self.deps.metrics.assignments.inc_by(done.len() as u64);
        let mut written = self.written.lock();
        for (session, assigned) in done {
            match assigned {
                Some(assigned) => written.insert(session, assigned),
                None => written.remove(&session),
            };
        }
        Ok(())
    }
}

fn put(session: SessionId, revision: u64, leader_term: u64, assigned: &Assigned) -> Write {
    let ranges = ranges_of(assigned.shards.iter().copied());
    let range = |r: iris_core::ranges::ShardRange| ShardRange {
        first: r.first.into(),
        last: r.last.into(),
    };
    let assignment = Assignment {
        revision,
        shards: ranges.into_iter().map(range).collect(),
        fence: assigned.dead.iter().map(|id| id.to_bytes().to_vec().into()).collect(),
        leader_term,
    };
    Write::Put {
        key: keys::assignment(session),
        value: assignment.encode_to_vec().into(),
        lease: None,
    }
}
