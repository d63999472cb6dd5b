//! What is written to the groups of a run: at a fixed rate, whatever the server does.

use iris_client::Draft;
use iris_core::id::GroupId;
use iris_core::message::{Address, Bodies};
use iris_core::seq::ConvSeq;

use super::super::SoakArgs;
use super::super::board::Board;
use super::super::message::Tag;
use super::super::people::Connected;
use super::super::schedule::Schedule;
use super::Plan;

/// See the module.
pub(in crate::soak) struct Traffic<'a> {
    board: &'a Board,
    connected: &'a [Connected],
    plan: Plan,
    groups: Vec<GroupId>,
    schedule: Schedule,
    /// When the first message is due, in the board's time.
    from_us: u64,
    /// Messages that are due and that a client has not taken yet, by writer.
    waiting: Vec<u64>,
    waiting_all: u64,
    /// The next message of the run.
    next: u64,
}

impl<'a> Traffic<'a> {
    pub(in crate::soak) fn new(
        board: &'a Board,
        args: &SoakArgs,
        connected: &'a [Connected],
        plan: Plan,
        groups: Vec<GroupId>,
    ) -> Self {
        let writers = plan.groups * plan.online;
        let mut schedule = Schedule::new(args.group_rate, writers.max(1), args.duration);
        if writers == 0 {
            schedule.end_at(0);
        }
        let (from_us, waiting) = (board.now_us(), vec![0; writers]);
        let (waiting_all, next) = (0, 0);
        Self { board, connected, plan, groups, schedule, from_us, waiting, waiting_all, next }
    }

    /// Whether the last message was due.
    pub(in crate::soak) fn is_done(&self) -> bool {
        self.next == self.schedule.total()
    }

    /// Nothing more becomes due.
    pub(in crate::soak) fn stop(&mut self) {
        self.schedule.end_at(self.next);
    }

    /// Whether every message is with its client, answered, and with every member.
    pub(in crate::soak) fn is_settled(&self) -> bool {
        self.waiting_all == 0 && self.board.state().groups.ledger.is_settled()
    }

    pub(in crate::soak) fn send_due(&mut self) {
        let now = self.board.now_us().saturating_sub(self.from_us);
        if self.waiting_all > 0 {
            for writer in 0..self.waiting.len() {
                self.hand_over(writer);
            }
        }
        while self.next < self.schedule.due_by(now) {
            let writer = self.schedule.sender(self.next);
            self.next += 1;
            self.waiting[writer] += 1;
            self.waiting_all += 1;
            self.hand_over(writer);
        }
    }

    /// Gives a client what waits for it, as far as it takes it.
    fn hand_over(&mut self, writer: usize) {
        // Neighbours in the schedule write to different groups.
        let (group, member) = (writer % self.plan.groups, writer / self.plan.groups);
        let device = self.plan.member(group, member);
        while self.waiting[writer] > 0 {
            let mut state = self.board.state();
            let number = state.groups.ledger.next_number(group, member);
            let due_us = self.from_us + self.schedule.due_of(writer, number);
            let direction = state.groups.direction(group, member);
            let tag = Tag { run: self.board.run, direction, number, due_us };
            let draft = Box::new(Draft {
                to: Address::Group(self.groups[group]),
                msg_id: tag.msg_id(),
                bodies: Bodies::Shared(tag.body(self.board.payload_bytes)),
                expires_at_ms: 0,
                about: None,
                change: None,
                roster: ConvSeq(0),
            });
            if self.connected[device].handle.try_send(draft).is_err() {
                return;
            }
            state.groups.ledger.submitted(group, member, due_us);
            let now = self.board.now_us();
            state.waits[device].submitted(now);
            drop(state);
            self.waiting[writer] -= 1;
            self.waiting_all -= 1;
        }
    }
}
