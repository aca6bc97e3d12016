//! Every bound of the daemon that is not a bound of a wire format (those are in `lockbridge_protocol::limits`), by name.

use std::time::Duration;

/// Journal segment size (rule F1).
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Journal space kept for safety commands when all else is full (rule D4).
pub const JOURNAL_SAFETY_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// Part of that reserve in which nothing begins any more: outcomes of what executes are written into it (rule D3). Twice
/// what [`EXECUTING_PER_SYSTEM`] outcomes of a common size take.
pub const JOURNAL_OUTCOME_BYTES: u64 = 2 * 1024 * 1024;
/// Free disk below which people are told (rule D6).
pub const DISK_WARNING_BYTES: u64 = 1024 * 1024 * 1024;
/// Longest a rebuilt working set is told about.
pub const STATE_REBUILT_NOTICE: Duration = Duration::from_secs(3600);
/// Appends waiting for the writer thread; beyond it, appending waits.
pub const JOURNAL_QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Most that one journal commit writes: a batch beyond it is worth a second flush rather than a longer first one.
pub const JOURNAL_COMMIT_BYTES: usize = 1024 * 1024;
/// Journal segments prepared ahead besides the safety reserve.
pub const JOURNAL_SEGMENTS_AHEAD: usize = 1;
/// Retired journal segments kept to be used again; more are removed.
pub const JOURNAL_SEGMENTS_POOLED: usize = 4;
/// Checkpoints kept; the older one serves when the newer turns out damaged (rule F7).
pub const CHECKPOINTS_KEPT: usize = 2;
/// Journaled bytes that make a checkpoint due.
pub const CHECKPOINT_INTERVAL_BYTES: u64 = 8 * 1024 * 1024;
/// Old values kept for a checkpoint while it is being made; beyond it, it is given up and tried again later.
pub const CHECKPOINT_SIDE_BYTES: usize = 8 * 1024 * 1024;
/// Cache of the working set.
pub const WORKING_SET_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Reports (outcomes, inventory, events) kept for the cloud (rule D2).
pub const OUTBOX_REPORTS: u64 = 20_000;
/// Batches of door events kept for the cloud; beyond it the oldest go and a gap is recorded (rules D2, D5).
pub const OUTBOX_EVENT_BATCHES: u64 = 2_000;
/// Requests waiting for the engine, each a batch at most a frame large.
pub const ENGINE_QUEUE: usize = 64;
/// Commands whose intent is durable at one lock system, so that a flush of the disk never idles its connections.
pub const EXECUTING_PER_SYSTEM: usize = 64;
/// Encoder lease: the longest an encode or scan may hold an encoder (rule C4, configurable 5..=60 s).
pub const ENCODER_LEASE: Duration = Duration::from_secs(30);
/// One lock-system call that no person waits for (rule C4).
pub const LOCK_SYSTEM_CALL: Duration = Duration::from_secs(15);
/// Attempts of class R before a command fails for good (rule B11).
pub const ATTEMPTS_REPEATABLE: u32 = 20;
/// Queries of class Q before the command is in doubt (rule B11).
pub const ATTEMPTS_QUERYABLE: u32 = 5;
/// Backoff between attempts (rule B11).
pub const RETRY_BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// Doubt older than this is an alert (rule B10).
pub const DOUBT_ALERT: Duration = Duration::from_secs(15 * 60);
/// Doubt older than this is abandoned when a compensation exists (rule B10).
pub const DOUBT_ABANDON: Duration = Duration::from_secs(24 * 3600);
/// Background work that waited this long goes before grants (rule C5).
pub const BACKGROUND_AGE: Duration = Duration::from_secs(600);
/// First question to the lock system after a doubt; later ones double up to [`DOUBT_QUESTION_MAXIMUM`].
pub const DOUBT_QUESTION: Duration = Duration::from_secs(5);
/// Longest pause between questions about a doubt.
pub const DOUBT_QUESTION_MAXIMUM: Duration = Duration::from_secs(300);
/// Commands past the bound that are still taken: what was on the way when the credit ended.
pub const INBOX_SLACK: u64 = 1_000;
/// One complete inventory scan.
pub const INVENTORY_SCAN: Duration = Duration::from_secs(600);
/// Objects of one lock system that are mirrored; a server that tells more is not believed.
pub const INVENTORY_ITEMS: usize = 200_000;
/// Entries after which the head of the journal's chain is reported (rule J2).
pub const CHECKPOINT_ENTRIES: u64 = 256;
/// Time after which it is reported if anything changed (rule J2).
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Grace past a call's own deadline before the engine stops waiting for an adapter.
pub const CALL_GRACE: Duration = Duration::from_secs(5);
/// A lane that lacks a sequence this long is reported (rule C3).
pub const LANE_GAP_ALERT: Duration = Duration::from_secs(60);
/// Longest that grants wait for the cloud to name the commands that a damaged journal lost; from then on they are carried out
/// on what is known, and put right when it answers.
pub const LOSS_HOLD: Duration = Duration::from_secs(600);
/// Shortest memory of an ended command (rule C2).
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Memory past a command's expiry (rule C2).
pub const TOMBSTONE_PAST_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Connections to the health address and to the control socket, each (rule L5).
pub const LOCAL_CONNECTIONS: usize = 32;
/// Pauses between tries with a token that the unit was given, while the cloud cannot be reached.
pub const ENROLLMENT_RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);
/// Pauses between tries to start on a disk without room; as often as a running journal asks a full disk again.
pub const FULL_DISK_RETRY: Duration = Duration::from_secs(10);
/// From SIGTERM to giving up on work in hand (rule M1).
pub const DRAIN: Duration = Duration::from_secs(30);
/// Minutes of history kept in memory: a day, some 150 KB.
pub const HISTORY_MINUTES: usize = 24 * 60;
/// Commands whose story is kept in memory.
pub const HISTORY_COMMANDS: usize = 200;
/// Steps of one story; of a longer one some in the middle are left out.
pub const HISTORY_STEPS: usize = 16;
/// Entries at the journal's end that are read after a start for the history: some segments.
pub const HISTORY_SEED_ENTRIES: u64 = 20_000;
/// Between two looks at the hops for the history.
pub const HISTORY_LOOK: Duration = Duration::from_secs(2);
/// Waiting commands shown on the status page.
pub const SHOWN_QUEUE: usize = 20;
/// Doubts shown on the status page.
pub const SHOWN_DOUBTS: usize = 50;
/// Orders of front desks that are carried out at the same time, over all of them; one more is told that all is busy.
pub const DESK_JOBS: usize = 64;
/// An equal order of the front desk within this time is answered from memory if its first answer may have got lost.
pub const DESK_REPEAT: Duration = Duration::from_secs(600);
/// Orders of one front desk that wait for their answers; one more is told that all is busy.
pub const DESK_PENDING: usize = 32;
/// Records of one front desk that are read in a second; a peer that sends more has to wait.
pub const DESK_RECORDS_PER_SECOND: u32 = 200;
