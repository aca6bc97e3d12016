use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::proto::tunnel::command::Body;
use crate::proto::tunnel::{DeleteGrant, EncodeCredential, KeyOperation, PutGrant, SuspendUser, User};
use crate::signed::REPORT_TYPE;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn keys() -> AuthorityKeys {
    AuthorityKeys::new([key(1).verifying_key().as_bytes().as_slice()]).expect("a good key")
}

fn audience() -> Audience {
    Audience { workspace_id: "w".into(), site_id: "s".into(), bridge_id: "b".into() }
}

fn command(body: Body) -> Command {
    Command {
        command_id: vec![9; 16],
        workspace_id: "w".into(),
        site_id: "s".into(),
        bridge_id: "b".into(),
        lock_system: "main".into(),
        lane: "user:u".into(),
        lane_sequence: 3,
        mode: mode_of(&body).into(),
        not_before_ms: 1_000,
        expires_at_ms: 61_000,
        body: Some(body),
        ..Command::default()
    }
}

fn grant() -> Body {
    Body::PutGrant(PutGrant {
        grant_id: "g".into(),
        revision: 1,
        user: Some(User { user_id: "u".into(), full_name: "Jane Doe".into(), ..User::default() }),
        entrance_external_ids: vec!["D1".into()],
        starts_at_ms: 1_000,
        ends_at_ms: 2_000,
        ..PutGrant::default()
    })
}

fn encode() -> Body {
    Body::EncodeCredential(EncodeCredential {
        credential_id: "c".into(),
        user_id: "u".into(),
        encoder_external_id: "Front desk 1".into(),
        operation: KeyOperation::AssignNew.into(),
    })
}

fn outcome(command: &Command) -> Result<VerifiedCommand, CommandError> {
    verify(&keys(), &audience(), &sign(&key(1), command))
}

#[test]
fn a_good_command_is_believed_and_classed_by_its_body() {
    let verified = outcome(&command(grant())).expect("verifies");
    assert_eq!(
        (verified.kind, verified.priority, verified.mode),
        ("put_grant", Priority::Convergent, Mode::Convergent)
    );
    let verified = outcome(&command(encode())).expect("verifies");
    assert_eq!((verified.priority, verified.mode), (Priority::Interactive, Mode::Interactive));
    let suspend = |suspended| Body::SuspendUser(SuspendUser { user_id: "u".into(), suspended });
    assert_eq!(priority_of(&suspend(true)), Priority::Safety);
    assert_eq!(priority_of(&suspend(false)), Priority::Convergent);
}

#[test]
fn unsigned_foreign_and_confused_commands_are_refused() {
    let good = sign(&key(1), &command(grant()));
    let refused = |signed: &Signed| verify(&keys(), &audience(), signed).expect_err("refused");

    assert_eq!(refused(&Signed { signatures: vec![], ..good.clone() }), CommandError::SignatureCount { found: 0 });
    let doubled = [good.signatures.clone(), good.signatures.clone()].concat();
    assert_eq!(refused(&Signed { signatures: doubled, ..good.clone() }), CommandError::SignatureCount { found: 2 });
    assert!(matches!(refused(&sign(&key(2), &command(grant()))), CommandError::UnknownKey { .. }));
    let as_report = sign_bytes(&key(1), REPORT_TYPE, good.payload.clone());
    assert!(matches!(refused(&as_report), CommandError::PayloadType { .. }));
    let relabelled = Signed { payload_type: COMMAND_TYPE.into(), ..as_report };
    assert_eq!(refused(&relabelled), CommandError::Signature, "the type is under the signature");

    for (what, other) in [
        ("workspace", Command { workspace_id: "x".into(), ..command(grant()) }),
        ("site", Command { site_id: "x".into(), ..command(grant()) }),
        ("bridge", Command { bridge_id: "x".into(), ..command(grant()) }),
    ] {
        assert_eq!(outcome(&other), Err(CommandError::Foreign { what }));
    }
}

#[test]
fn unknown_fields_and_other_spellings_are_refused_though_signed() {
    let plain = Command { version: 1, authority_key_id: key_id(key(1).verifying_key().as_bytes()), ..command(grant()) };
    let mut with_unknown = plain.encode_to_vec();
    with_unknown.extend_from_slice(&[0xF8, 0x07, 0x01]); // field 127, varint 1
    let signed = sign_bytes(&key(1), COMMAND_TYPE, with_unknown);
    assert_eq!(verify(&keys(), &audience(), &signed), Err(CommandError::NotCanonical));
    let mut repeated = plain.encode_to_vec();
    repeated.extend_from_slice(&[0x08, 0x01]); // version again, out of order
    let signed = sign_bytes(&key(1), COMMAND_TYPE, repeated);
    assert_eq!(verify(&keys(), &audience(), &signed), Err(CommandError::NotCanonical));
    let signed = sign_bytes(&key(1), COMMAND_TYPE, vec![0xFF; 9]);
    assert!(matches!(verify(&keys(), &audience(), &signed), Err(CommandError::Malformed { .. })));
    let newer = Command { version: 2, ..plain };
    let signed = sign_bytes(&key(1), COMMAND_TYPE, newer.encode_to_vec());
    assert_eq!(verify(&keys(), &audience(), &signed), Err(CommandError::Version { found: 2 }));
}

#[test]
fn size_is_checked_at_the_limit_and_one_past_it() {
    let sized = |detail: usize| {
        let mut body = command(grant());
        body.lane = format!("user:{}", "x".repeat(detail));
        sign(&key(1), &body)
    };
    let overhead = sized(40_000).encoded_len() - 40_000;
    let at = sized(limits::COMMAND_BYTES - overhead);
    assert_eq!(at.encoded_len(), limits::COMMAND_BYTES);
    assert!(verify(&keys(), &audience(), &at).is_ok());
    let past = sized(limits::COMMAND_BYTES - overhead + 1);
    assert_eq!(verify(&keys(), &audience(), &past), Err(CommandError::TooLarge { bytes: limits::COMMAND_BYTES + 1 }));
}

#[test]
fn impossible_fields_are_named() {
    let broken: Vec<(&str, Command)> = vec![
        ("command_id", Command { command_id: vec![1; 15], ..command(grant()) }),
        ("body", Command { body: None, ..command(grant()) }),
        ("mode", Command { mode: Mode::Interactive.into(), ..command(grant()) }),
        ("mode", Command { mode: 77, ..command(grant()) }),
        ("lock_system", Command { lock_system: String::new(), ..command(grant()) }),
        ("lane", Command { lane: String::new(), ..command(grant()) }),
        ("lane_sequence", Command { lane_sequence: 0, ..command(grant()) }),
        ("expires_at_ms", Command { expires_at_ms: 0, ..command(grant()) }),
        ("not_before_ms", Command { not_before_ms: 61_000, ..command(grant()) }),
        ("cancels_below", Command { cancels_below: 1, ..command(grant()) }),
        ("max_start_delay_ms", Command { max_start_delay_ms: 60_001, ..command(encode()) }),
        ("not_before_ms", Command { not_before_ms: 0, ..command(encode()) }),
        ("expires_at_ms", Command { expires_at_ms: 121_001, ..command(encode()) }),
        (
            "cancels_below",
            Command {
                cancels_below: 4,
                ..command(Body::DeleteGrant(DeleteGrant { grant_id: "g".into(), user_id: "u".into() }))
            },
        ),
    ];
    for (name, command) in broken {
        match outcome(&command) {
            Err(CommandError::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn impossible_bodies_are_named() {
    let Body::PutGrant(good) = grant() else { unreachable!() };
    let user = good.user.clone().expect("there");
    for (name, body) in [
        ("grant_id", PutGrant { grant_id: String::new(), ..good.clone() }),
        ("user", PutGrant { user: None, ..good.clone() }),
        ("user.full_name", PutGrant { user: Some(User { full_name: " ".into(), ..user }), ..good.clone() }),
        ("entrance_external_ids", PutGrant { entrance_external_ids: vec![], ..good.clone() }),
        ("entrance_external_ids", PutGrant { entrance_external_ids: vec![String::new()], ..good.clone() }),
        ("ends_at_ms", PutGrant { ends_at_ms: 1_000, ..good.clone() }),
    ] {
        match outcome(&command(Body::PutGrant(body))) {
            Err(CommandError::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let Body::EncodeCredential(good) = encode() else { unreachable!() };
    for operation in [0, 5] {
        let body = Body::EncodeCredential(EncodeCredential { operation, ..good.clone() });
        assert!(matches!(outcome(&command(body)), Err(CommandError::Field { field: "operation", .. })));
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_is_noticed(position in any::<prop::sample::Index>(), bit in 0u8..8, in_signature: bool) {
        let mut signed = sign(&key(1), &command(grant()));
        let bytes = if in_signature { &mut signed.signatures[0].signature } else { &mut signed.payload };
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(verify(&keys(), &audience(), &signed), Err(CommandError::Signature));
    }

    #[test]
    fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let signed = sign_bytes(&key(1), COMMAND_TYPE, payload);
        let _either = verify(&keys(), &audience(), &signed);
    }
}
