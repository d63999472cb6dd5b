//! Typing: told at once or not at all.

#[cfg(test)]
mod tests;

use crate::clock::MonoUs;
use crate::id::AccountId;
use crate::limits;
use crate::message::Address;
use crate::signal::{Signal, Typing};

use super::Shard;
use super::effect::{Effect, ToConn};
use super::hot::Conn;

impl Shard {
    /// A person writes something to somebody, or stops.
    pub(super) fn types(
        &mut self,
        now: MonoUs,
        conn: Conn,
        (to, kind): (Address, u32),
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        // Whoever is blocked sees nothing of the account.
        let blocks = |of| hot.state.as_ref().is_some_and(|s| s.relations.blocked.contains(&of));
        let heard = match to {
            Address::Account(of) => !blocks(of),
            // Nobody has a group read from the store that they are not in, or that is too large.
            Address::Group(group) => {
                let known = hot.state.as_ref().and_then(|state| state.groups.get(&group));
                known.is_some_and(|known| known.until.is_none() && known.pulls.is_none())
            }
        };
        if !heard {
            return;
        }
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        // To stop is told at once: it ends what the other side shows.
        let again = attachment
            .typed
            .is_some_and(|(known, at)| known == to && now.ms_since(at) < limits::TYPING_PAUSE_MS);
        if again && kind != 0 {
            return;
        }
        attachment.typed = (kind != 0).then_some((to, now));
        let signal = Signal::Typing(Typing { from: account, device, to, kind });
        out.push(Effect::Signal { to: to.shard(self.key.count), signal });
    }

    /// Somebody writes something to an account of this shard.
    pub(super) fn typed_to(&self, to: AccountId, typing: Typing, out: &mut Vec<Effect>) {
        let Some(hot) = self.hot(to) else { return };
        let Some(state) = &hot.state else { return };
        let foreign = typing.from.tenant() != to.tenant();
        if foreign || state.relations.blocked.contains(&typing.from) {
            return;
        }
        for attachment in hot.attachments.values().filter(|a| a.greeted && !a.blocked) {
            let what = ToConn::Typing(typing);
            out.push(Effect::ToConn { conn: attachment.conn, what });
        }
    }
}
