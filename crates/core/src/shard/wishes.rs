//! What people wish of others: decided like anything else, and in force from their position on.

#[cfg(test)]
mod tests;

use crate::clock::Now;
use crate::code::Code;
use crate::entry::Op;
use crate::id::AccountId;
use crate::relation::Wish;

use super::Shard;
use super::effect::{CallAnswer, Effect, ToConn};
use super::hot::Conn;
use super::release::Awaiting;

impl Shard {
    pub(super) fn wish(
        &mut self,
        now: Now,
        conn: Conn,
        corr: u32,
        wish: Wish,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, _)) = self.attached(conn) else { return };
        let answer = match self.refuse_wish(account, wish) {
            Some(refused) => refused,
            None if self.account(account).is_some_and(|state| state.relations.has(wish)) => {
                CallAnswer::Done
            }
            None => {
                self.decide(now.wall, Op::Wished { account, wish }, out);
                self.presence_may_differ(account, now.mono);
                CallAnswer::Done
            }
        };
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }

    fn refuse_wish(&self, account: AccountId, wish: Wish) -> Option<CallAnswer> {
        if !self.admitting {
            return Some(CallAnswer::Refused(Code::OwnerMoving, "the shard is moving: try again"));
        }
        let of = match wish {
            Wish::Block(of, _) | Wish::Contact(of, _) => Some(of),
            Wish::Presence(_) | Wish::TellReads(_) => None,
        };
        if of.is_some_and(|of| of.tenant() != account.tenant()) {
            return Some(CallAnswer::Refused(Code::NotFound, "no such account"));
        }
        let full = self.account(account)?.relations.check(wish).is_err();
        full.then_some(CallAnswer::Refused(Code::Quota, "the list is full: take somebody off it"))
    }

    pub(super) fn list_wishes(&mut self, conn: Conn, corr: u32) {
        let Some((account, _)) = self.attached(conn) else { return };
        let Some(state) = self.account(account) else { return };
        let answer = CallAnswer::Wishes(Box::new(state.relations.clone()));
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }
}
