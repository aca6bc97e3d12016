//! Journals made here, byte by byte, so that every kind of tampering can be done to them.

mod finds;
mod passes;

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use lockbridge_protocol::journal::{
    ChainHash, CheckpointEncoder, CheckpointHeader, Commit, HEADER_BYTES, Position, RECORD_OVERHEAD, Record,
    SegmentHeader, Step, StoreId, write_commit, write_entry,
};
use lockbridge_protocol::proto::journal::{BrakeChanged, Entry, Reported, Witnessed, entry::Body};
use lockbridge_protocol::proto::tunnel::{AuditCheckpoint, Report, Signed, report::Body as ReportBody};
use lockbridge_protocol::signed::command::sign_bytes;
use lockbridge_protocol::signed::witness::WitnessFile;
use lockbridge_protocol::signed::{WITNESS_TYPE, report};
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::TempDir;

use super::*;

const STORE: StoreId = StoreId([3; 16]);
/// Entries a batch, and batches a segment, of the journals made here.
const BATCH: u64 = 3;
const SEGMENT: u64 = 4;
const SEGMENT_BYTES: usize = 16 * 1024;

/// Bridge and authority.
struct Signers {
    bridge: EcdsaKeyPair,
    authority: SigningKey,
}

impl Signers {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let bridge = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self { bridge: bridge.expect("reads back"), authority: SigningKey::from_bytes(&[8; 32]) }
    }

    fn checkpoint(&self, sequence: u64, head: ChainHash, report_sequence: u64) -> Body {
        let checkpoint = claim(sequence, head);
        let report = Report {
            version: report::VERSION,
            bridge_id: "b".into(),
            store_id: STORE.0.to_vec(),
            sequence: report_sequence,
            occurred_at_ms: 1,
            body: Some(ReportBody::AuditCheckpoint(checkpoint)),
        };
        let signed = report::sign(&self.bridge, &SystemRandom::new(), report.encode_to_vec()).expect("signs");
        Body::Reported(Reported {
            report_sequence,
            kind: "audit_checkpoint".into(),
            signed_checkpoint: signed.encode_to_vec(),
            ..Reported::default()
        })
    }

    fn witness(&self, sequence: u64, head: ChainHash) -> Signed {
        sign_bytes(&self.authority, WITNESS_TYPE, claim(sequence, head).encode_to_vec())
    }

    /// The file that the cloud would print.
    fn witness_file(&self, sequence: u64, head: ChainHash) -> WitnessFile {
        WitnessFile {
            bridge_id: "b".into(),
            audit_key: self.bridge.public_key().as_ref().to_vec(),
            authority_keys: vec![self.authority.verifying_key().as_bytes().to_vec()],
            witness: self.witness(sequence, head),
        }
    }

    /// Both keys without a witness from outside.
    fn keys(&self, folder: &Path) -> Keys {
        let write = |name: &str, key: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, data_encoding::HEXLOWER.encode(key)).expect("writes");
            path
        };
        let bridge = write("bridge.pub", self.bridge.public_key().as_ref());
        let authority = write("authority.pub", self.authority.verifying_key().as_bytes());
        Keys::given(&[bridge], &[authority], &[]).expect("keys")
    }

    fn keys_with_witness(&self, folder: &Path, sequence: u64, head: ChainHash) -> Keys {
        let path = folder.join("witness.json");
        std::fs::write(&path, self.witness_file(sequence, head).to_line() + "\n").expect("writes");
        Keys::given(&[], &[], &[path]).expect("keys")
    }
}

fn claim(sequence: u64, head: ChainHash) -> AuditCheckpoint {
    AuditCheckpoint {
        store_id: STORE.0.to_vec(),
        journal_sequence: sequence,
        chain_head: head.0.to_vec(),
        time_ms: 1_795_000_000_000,
    }
}

/// What the entries of a journal say; heads are filled in as the chain is made.
#[derive(Clone)]
enum Says {
    Text(String),
    /// A checkpoint over everything before.
    Checkpoint,
    /// A witness of the last checkpoint.
    Witness,
}

/// 40 entries: checkpoints at 10, 20 and 30, witnesses two entries later.
fn script() -> Vec<Says> {
    let says = |sequence: u64| match sequence {
        10 | 20 | 30 => Says::Checkpoint,
        12 | 22 | 32 => Says::Witness,
        other => Says::Text(format!("uid {other}")),
    };
    (1..=40).map(says).collect()
}

struct Made {
    folder: TempDir,
    signers: Signers,
    /// Chain hash of every entry; the first is that of the beginning.
    heads: Vec<ChainHash>,
}

impl Made {
    fn new() -> Self {
        Self::with(Signers::new(), &script())
    }

    fn with(signers: Signers, script: &[Says]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("journal")).expect("a folder");
        let mut made = Self { folder, signers, heads: vec![ChainHash::genesis(STORE)] };
        let mut segment: Vec<u8> = Vec::new();
        let (mut index, mut first) = (1, 1);
        let mut last_checkpoint = 0;
        for (sequence, says) in (1_u64..).zip(script) {
            let head = *made.heads.last().expect("a beginning");
            if segment.is_empty() {
                let start = Position { next: sequence, head };
                segment = SegmentHeader { store_id: STORE, index, boot_counter: 1, start }.encode();
            }
            let body = match says {
                Says::Text(who) => Body::BrakeChanged(BrakeChanged { on: true, who: who.clone() }),
                Says::Checkpoint => {
                    last_checkpoint = sequence - 1;
                    made.signers.checkpoint(last_checkpoint, head, sequence)
                }
                Says::Witness => {
                    let witness = made.signers.witness(last_checkpoint, made.head(last_checkpoint));
                    Body::Witnessed(Witnessed { report_sequence: 1, witness: witness.encode_to_vec() })
                }
            };
            let payload = Entry { wall_ms: 1_795_000_000_000, body: Some(body) }.encode_to_vec();
            made.heads.push(write_entry(&mut segment, sequence, head, &payload).expect("fits"));
            let ends = sequence == script.len() as u64;
            if sequence % BATCH == 0 || ends {
                let commit = Commit { first, last: sequence, boot_counter: 1 };
                write_commit(&mut segment, commit, made.head(sequence));
                first = sequence + 1;
            }
            if sequence % (BATCH * SEGMENT) == 0 || ends {
                segment.resize(SEGMENT_BYTES, 0);
                std::fs::write(made.segment(index), &segment).expect("writes");
                segment.clear();
                index += 1;
            }
        }
        made
    }

    fn head(&self, sequence: u64) -> ChainHash {
        self.heads[usize::try_from(sequence).expect("small")]
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn source(&self) -> Source {
        Source::Folder(self.path().to_owned())
    }

    fn segment(&self, index: u64) -> PathBuf {
        self.path().join(format!("journal/{index:016x}.segment"))
    }

    fn change(&self, index: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.segment(index)).expect("reads");
        change(&mut bytes);
        std::fs::write(self.segment(index), bytes).expect("writes");
    }

    fn checkpoint_file(&self, sequence: u64, head: ChainHash) -> PathBuf {
        let mut bytes = Vec::new();
        let header = CheckpointHeader { schema_version: 1, store_id: STORE, sequence, head };
        let mut encoder = CheckpointEncoder::begin(&header, &mut bytes);
        encoder.item(b"key", &[1; 300], &mut bytes).expect("fits");
        encoder.finish(&mut bytes);
        let path = self.path().join(format!("journal/{sequence:016x}.checkpoint"));
        std::fs::write(&path, bytes).expect("writes");
        path
    }

    fn verify(&self) -> Verdict {
        self.verify_with(&self.signers.keys(self.path()))
    }

    fn verify_with(&self, keys: &Keys) -> Verdict {
        verify(&self.source(), keys, &mut |_| Ok(())).expect("can be audited")
    }

    fn export(&self, name: &str, range: Range) -> PathBuf {
        let path = self.path().join(name);
        let out = std::fs::File::create(&path).expect("creates");
        let mut exporter = Exporter::new(out, range, false, crate::identity::PublicKeys::default(), 1);
        let keys = self.signers.keys(self.path());
        verify(&self.source(), &keys, &mut |visited| exporter.visit(visited)).expect("can be audited");
        exporter.finish().expect("writes");
        path
    }

    fn verify_export(&self, path: &Path) -> Verdict {
        let keys = self.signers.keys(self.path());
        verify(&Source::Export(path.to_owned()), &keys, &mut |_| Ok(())).expect("can be audited")
    }
}

const ALL: Range = Range { from: 0, through: u64::MAX };

fn codes(verdict: &Verdict) -> Vec<Code> {
    verdict.findings.iter().map(|finding| finding.code).collect()
}

/// Begin and length of every record of a segment.
fn records(bytes: &[u8]) -> Vec<(usize, usize, u64, bool)> {
    let mut offset = HEADER_BYTES;
    let mut found = Vec::new();
    while let Ok(Step::Record(record, length)) = Record::read(&bytes[offset..]) {
        let entry = matches!(record.body, lockbridge_protocol::journal::RecordBody::Entry(_));
        found.push((offset, length, record.sequence, entry));
        offset += length;
    }
    found
}

fn entry_at(bytes: &[u8], sequence: u64) -> (usize, usize) {
    let found = records(bytes).into_iter().find(|(_, _, it, entry)| *it == sequence && *entry);
    let (offset, length, ..) = found.expect("the entry is in this segment");
    (offset, length)
}

/// Changes the last byte of what an entry says, and makes its checksum right again.
fn edit(bytes: &mut [u8], sequence: u64, previous: ChainHash) {
    let (offset, length) = entry_at(bytes, sequence);
    let mut payload = bytes[offset + RECORD_OVERHEAD - 4..offset + length - 4].to_vec();
    *payload.last_mut().expect("it says something") ^= 1;
    let mut record = Vec::new();
    write_entry(&mut record, sequence, previous, &payload).expect("fits");
    bytes[offset..offset + length].copy_from_slice(&record);
}
