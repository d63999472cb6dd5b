//! Every bound of the message path, with its reason. What overflows is counted by the shell.

/// A frame of a client, in bytes, by default: a body, its envelope and room.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// An inline body, in bytes: larger ones go to media.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// All bodies of one SEND together: a body for each of a recipient's devices.
pub const BODIES_BYTES_MAX: usize = 128 * 1024;
/// Devices of an account: bodies per device and cursors stay small.
pub const DEVICES_MAX: usize = 32;
/// Devices of an account that are remembered, revoked ones with them: the list is one frame.
pub const DEVICE_RECORDS_MAX: usize = 256;
/// Devices of an account up to which one vouches for another. The rest is for who has the password: a
/// stolen device does not fill the account with its own.
pub const DEVICES_LINKED_MAX: usize = DEVICES_MAX - 4;
/// Devices of an account that may be added in an hour where another device vouches for them: no
/// password is hashed for these, and a device that was revoked stays on record.
pub const DEVICES_LINKED_PER_HOUR: usize = 16;
/// A device's name, in bytes.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// A handle, in bytes.
pub const HANDLE_BYTES_MAX: usize = 64;
/// A password, in bytes: longer ones cost hashing time and hide nothing.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// A password's least length, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Sends of one device that may be without answer: its credit.
pub const SENDS_IN_FLIGHT_MAX: u32 = 256;
/// Bytes of such sends.
pub const SENDS_IN_FLIGHT_BYTES_MAX: u32 = 256 * 1024;
/// Sends of a device in a second, by default; its account sends twice as fast.
pub const SENDS_PER_SECOND: u32 = 500;
/// Who was silent may be so many seconds ahead of the rate.
pub const SEND_BURST_SECONDS: u32 = 4;
/// Conversations of an account of which it is known how fast they go.
pub const PACED_CONVERSATIONS_MAX: usize = 64;
/// Decided sends whose outcome is kept for a device that asks again.
pub const OUTCOMES_KEPT: u64 = 256;
/// Credit that a device may grant for deliveries, in messages.
pub const WINDOW_MESSAGES_MAX: u32 = 4096;
/// Credit that a device may grant for deliveries, in bytes.
pub const WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Entries in one block: with the bytes, what a lane loses at most to one late write.
pub const BLOCK_ENTRIES_MAX: usize = 256;
/// Bytes of entries in one block: above it Cassandra's own limits come near.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Blocks of a lane that may be written at the same time: enough to hide one slow write.
pub const BLOCKS_IN_FLIGHT_MAX: usize = 4;
/// Rows of `session_log` in one partition: blocks of at most 64 KiB keep it below 256 MiB.
pub const LOG_CHUNK_BLOCKS: u64 = 4096;
/// Entries of a lane that are not released: beyond it sends are refused with `OVERLOADED`.
pub const LANE_UNRELEASED_ENTRIES_MAX: usize = 8192;
/// Bytes of such entries.
pub const LANE_UNRELEASED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A fence read older than this releases nothing and answers nothing.
pub const FENCE_READ_VALID_MS: u64 = 2_000;
/// An idle owner reads its fence at least so often.
pub const FENCE_READ_IDLE_MS: u64 = 1_000;
/// A send that waits longer for its commit is answered `STORE_UNAVAILABLE`: nothing hangs for 2 s.
pub const COMMIT_PATIENCE_MS: u64 = 1_000;

/// Unconfirmed items of one outbox: beyond it a send to that shard is refused.
pub const OUTBOX_ITEMS_MAX: u64 = 4096;
/// Items of one outbox that may be without confirmation from the destination at once.
pub const OUTBOX_WINDOW: u64 = 1024;
/// A destination that took nothing for so long is tried again.
pub const OUTBOX_RETRY_MS: u64 = 1_000;
/// Items of one source that wait at the destination for an account to be loaded.
pub const INBOUND_WAITING_MAX: usize = 256;

/// Items in one DELIVER.
pub const DELIVER_ITEMS_MAX: usize = 64;
/// Bytes of bodies in one DELIVER.
pub const DELIVER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an inbox that one load brings.
pub const INBOX_LOAD_BYTES: usize = 256 * 1024;
/// Items of an inbox that stay in memory after they were materialised, for each account.
pub const TAIL_ITEMS_KEPT: usize = 64;
/// Operations that wait for one account to be loaded.
pub const ACCOUNT_WAITING_MAX: usize = 1024;
/// Accounts of a shard that stay in memory while idle.
pub const HOT_ACCOUNTS_MAX: usize = 16 * 1024;
/// An idle account may leave memory after this long.
pub const ACCOUNT_IDLE_MS: u64 = 60_000;

/// Members of a group: its roster is in its owner's memory while somebody writes to it.
pub const GROUP_MEMBERS_MAX: usize = 100_000;
/// Up to so many members every inbox has a group's messages in full; a body that is kept apart costs a
/// second read.
pub const GROUP_INLINE_MEMBERS_MAX: usize = 64;
/// Up to so many members every inbox has a group's messages; more members read its log.
pub const GROUP_PUSHED_MEMBERS_MAX: usize = 5_000;
/// Accounts that one change of a group names.
pub const GROUP_CHANGE_MEMBERS_MAX: usize = 256;
/// What clients keep in a group's settings, in bytes.
pub const GROUP_INFO_BYTES_MAX: usize = 4 * 1024;
/// Groups that an account is in: the list is one value of a row. Who has more is not added.
pub const MEMBERSHIPS_MAX: usize = 1024;
/// Groups of a shard that stay in memory while idle.
pub const HOT_GROUPS_MAX: usize = 1024;
/// Members of a group that are told that somebody writes something.
pub const TYPING_MEMBERS_MAX: usize = 64;

/// People whom an account blocks: the list is read for every message that it gets.
pub const BLOCKED_MAX: usize = 1024;
/// People whom an account knows: the list is one value of a row.
pub const CONTACTS_MAX: usize = 4096;
/// People whose presence one device watches: as many as a screen and the next show.
pub const WATCHED_MAX: usize = 256;
/// Watchers of one account; more are told nothing, so that a hot user costs a bounded amount.
pub const WATCHERS_MAX: usize = 4096;
/// A watch that is not renewed ends after this long.
pub const WATCH_LEASE_MS: u64 = 60_000;
/// The watcher's shard renews it this often.
pub const WATCH_RENEW_MS: u64 = 20_000;
/// Where nobody answered to a watch of a group, the watcher's shard asks again this often.
pub const WATCH_ASK_AGAIN_MS: u64 = 1_000;
/// Who leaves counts as there for this long: most come back at once, on another edge.
pub const LEAVE_DEBOUNCE_MS: u64 = 1_000;
/// A shard that changed its owner says nothing of who is not there for this long: its people are on
/// their way to it.
pub const PRESENCE_GRACE_MS: u64 = 2_000;
/// Of the devices of an account, each tells the same person of typing once in this time.
pub const TYPING_PAUSE_MS: u64 = 1_000;
/// Receipts wait this long for company: a person reads many messages in a moment.
pub const RECEIPTS_WAIT_MS: u64 = 200;
/// And this long where messages follow each other faster than that: one receipt serves many.
pub const RECEIPTS_WAIT_BUSY_MS: u64 = 1_000;
/// Conversations whose receipts wait; beyond it they wait no longer.
pub const RECEIPTS_WAITING_MAX: usize = 4096;
/// Conversations of an account whose last receipts are remembered, so that a second device makes none.
pub const RECEIPTS_REMEMBERED: usize = 64;
/// Marks in one frame, and changed marks that wait for a device; beyond it they are read again.
pub const MARKS_MAX: usize = 128;
/// Pages of history that a device may be waiting for.
pub const FETCHES_MAX: usize = 4;
/// Messages in one page of history.
pub const PAGE_MESSAGES_MAX: u32 = 100;
/// Bytes of bodies in one page of history.
pub const PAGE_BYTES_MAX: usize = 128 * 1024;
/// Erased messages of an account that are remembered until the store has forgotten them, too.
pub const ERASED_REMEMBERED: usize = 1024;

/// Reads of rows that cannot be understood before others go on without them.
pub const DAMAGED_TRIES: u32 = 3;
/// After so long they are read again.
pub const DAMAGED_RETRY_MS: u64 = 60_000;

/// Sessions that panicked over one shard before it is not served: it is not one input then.
pub const SUSPECTS_MAX: usize = 16;
/// After so long an input over which a session panicked is taken again, if no other version came before.
/// The table's rows live as long.
pub const SUSPECT_MS: u64 = 24 * 3600 * 1000;

/// An outbox item younger than this holds the checkpoint back rather than becoming a row: most are
/// confirmed long before.
pub const OUTBOX_YOUNG_MS: u64 = 3_000;
/// Derived rows of a shard are written at least so often while there are changes.
pub const FLUSH_INTERVAL_MS: u64 = 3_000;
/// And so often while somebody waits for them: members of a group, who read its roster and its log.
pub const FLUSH_AWAITED_MS: u64 = 400;
/// What the target of a move may have to read before it can replay what the source appended last, in
/// rows of accounts, groups and members: the writes of the shard wait for them.
pub const HANDED_READS_MAX: usize = 512;

const _: () = assert!(BODIES_BYTES_MAX < FRAME_BYTES_MAX as usize);
const _: () = assert!(OUTBOX_WINDOW <= OUTBOX_ITEMS_MAX);
const _: () = assert!(FENCE_READ_IDLE_MS < FENCE_READ_VALID_MS);
const _: () = assert!(COMMIT_PATIENCE_MS < 2_000);
const _: () = assert!(PAGE_BYTES_MAX < FRAME_BYTES_MAX as usize);
const _: () = assert!(WATCH_RENEW_MS * 2 < WATCH_LEASE_MS);
