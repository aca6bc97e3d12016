use lockbridge_protocol::proto::tunnel::{DeleteGrant, EncodeCredential, Priority, PutGrant, UnlockEntrance};

use super::check::{VALIDITY_TOLERANCE_MS, matches_pattern};
use super::*;

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 24 * 3_600_000;

fn policy(system: &str) -> Policy {
    Policy::parse(&format!("version = 3\n[systems.\"*\"]\n{system}")).expect("a valid policy")
}

fn facts(kind: &'static str, priority: Priority) -> Facts<'static> {
    Facts {
        lock_system: "tower",
        kind,
        priority,
        minimum_version: 0,
        now_ms: NOW,
        local_time: Time::constant(12, 0, 0, 0),
        brake: false,
    }
}

fn grant(entrance: &str, days: i64) -> Body {
    Body::PutGrant(PutGrant {
        entrance_external_ids: vec![entrance.into()],
        starts_at_ms: NOW,
        ends_at_ms: if days == 0 { 0 } else { NOW + days * DAY },
        ..PutGrant::default()
    })
}

fn encode() -> Body {
    Body::EncodeCredential(EncodeCredential { encoder_external_id: "desk".into(), ..EncodeCredential::default() })
}

fn ruled(policy: Option<&Policy>, moment: Moment, facts: Facts<'_>, body: &Body, used: u64) -> Ruling {
    check(policy, moment, facts, body, &["101".to_owned()], &|_, _| used)
}

fn rule(ruling: impl std::borrow::Borrow<Ruling>) -> &'static str {
    match *ruling.borrow() {
        Ruling::Allowed => "allowed",
        Ruling::Wait(why) => why,
        Ruling::Breach { rule, .. } => rule,
    }
}

#[test]
fn without_a_file_only_safety_commands_pass() {
    let delete = Body::DeleteGrant(DeleteGrant::default());
    assert_eq!(rule(ruled(None, Moment::Accept, facts("delete_grant", Priority::Safety), &delete, 0)), "allowed");
    let put = facts("put_grant", Priority::Convergent);
    assert!(matches!(ruled(None, Moment::Accept, put, &grant("101", 1), 0), Ruling::Breach { .. }));
    assert_eq!(ruled(None, Moment::Begin, put, &grant("101", 1), 0), Ruling::Wait("policy:no_policy"));
    let interactive = facts("encode_credential", Priority::Interactive);
    assert!(matches!(ruled(None, Moment::Begin, interactive, &encode(), 0), Ruling::Breach { .. }));
}

#[test]
fn kinds_doors_and_validity_are_bounded() {
    let policy = policy("allow = [\"put_grant\"]\nentrances = [\"1*\", \"gym\"]");
    let ask =
        |kind, body: &Body| rule(ruled(Some(&policy), Moment::Accept, facts(kind, Priority::Convergent), body, 0));
    assert_eq!(ask("put_grant", &grant("101", 31)), "allowed");
    assert_eq!(ask("put_grant", &grant("gym", 2)), "allowed");
    assert_eq!(ask("put_grant", &grant("gym2", 2)), "policy:entrance");
    assert_eq!(ask("put_grant", &grant("101", 33)), "policy:max_validity");
    assert_eq!(ask("put_grant", &grant("101", 0)), "policy:max_validity");
    let ending = |end| Body::PutGrant(PutGrant { ends_at_ms: NOW + end, starts_at_ms: NOW, ..PutGrant::default() });
    let longest = 31 * DAY + VALIDITY_TOLERANCE_MS;
    assert_eq!(ask("put_grant", &ending(longest)), "allowed");
    assert_eq!(ask("put_grant", &ending(longest + 1)), "policy:max_validity");
    assert_eq!(ask("put_user", &grant("101", 1)), "policy:allow");
    let unlock = Body::UnlockEntrance(UnlockEntrance { entrance_external_id: "101".into() });
    assert_eq!(ask("unlock_entrance", &unlock), "policy:allow");
    let mut other = facts("put_grant", Priority::Convergent);
    other.minimum_version = 4;
    assert_eq!(rule(ruled(Some(&policy), Moment::Accept, other, &grant("101", 1), 0)), "policy:version");
}

#[test]
fn no_days_at_all_is_no_bound() {
    let ruling = |days: &str, body: &Body| {
        let policy = policy(&format!("allow = [\"*\"]\nmax_validity_days = {days}"));
        rule(ruled(Some(&policy), Moment::Accept, facts("put_grant", Priority::Convergent), body, 0))
    };
    assert_eq!((ruling("0", &grant("101", 9000)), ruling("0", &grant("101", 0))), ("allowed", "allowed"));
    assert_eq!((ruling("1", &grant("101", 1)), ruling("1", &grant("101", 3))), ("allowed", "policy:max_validity"));
}

#[test]
fn rates_refuse_encodes_and_delay_grants() {
    let policy = policy("allow = [\"*\"]\nencodes_per_hour = 5\ngrants_per_hour = 5");
    let interactive = facts("encode_credential", Priority::Interactive);
    let convergent = facts("put_grant", Priority::Convergent);
    let begin = |facts, body: &Body, used| rule(ruled(Some(&policy), Moment::Begin, facts, body, used));
    assert_eq!(begin(interactive, &encode(), 4), "allowed");
    assert_eq!(begin(interactive, &encode(), 5), "policy:encodes_per_hour");
    assert_eq!(begin(convergent, &grant("101", 1), 4), "allowed");
    assert_eq!(begin(convergent, &grant("101", 1), 5), "policy:grants_per_hour");
    let room = |used_room: u64| {
        let rate = move |subject: &str, _: u64| if subject == "room:101" { used_room } else { 0 };
        rule(check(Some(&policy), Moment::Begin, interactive, &encode(), &["101".to_owned()], &rate))
    };
    assert_eq!(room(9), "allowed");
    assert_eq!(room(10), "policy:encodes_per_room_per_day");
}

#[test]
fn the_brake_stops_cards_and_grants_but_no_revoke() {
    let policy = policy("allow = [\"*\"]");
    let braked = |kind, priority| Facts { brake: true, ..facts(kind, priority) };
    let begin = |facts, body: &Body| rule(ruled(Some(&policy), Moment::Begin, facts, body, 0));
    assert_eq!(begin(braked("encode_credential", Priority::Interactive), &encode()), "policy:brake");
    assert_eq!(
        ruled(Some(&policy), Moment::Begin, braked("put_grant", Priority::Convergent), &grant("101", 1), 0),
        Ruling::Wait("policy:brake")
    );
    let delete = Body::DeleteGrant(DeleteGrant::default());
    assert_eq!(begin(braked("delete_grant", Priority::Safety), &delete), "allowed");
    assert_eq!(begin(braked("delete_grant", Priority::Convergent), &delete), "allowed", "nothing is given by it");
}

#[test]
fn a_command_may_ask_for_a_policy_as_new_as_the_one_in_force() {
    let policy = policy("allow = [\"*\"]");
    let asking = |minimum_version| {
        let facts = Facts { minimum_version, ..facts("put_grant", Priority::Convergent) };
        rule(ruled(Some(&policy), Moment::Accept, facts, &grant("101", 1), 0))
    };
    let version = policy.version;
    assert_eq!((asking(version), asking(version + 1)), ("allowed", "policy:version"));
}

#[test]
fn hours_are_of_the_sites_clock_and_may_cross_midnight() {
    let policy = policy("allow = [\"*\"]\nhours = \"22:00-06:00\"");
    let at = |hour| {
        let facts =
            Facts { local_time: Time::constant(hour, 0, 0, 0), ..facts("encode_credential", Priority::Interactive) };
        rule(ruled(Some(&policy), Moment::Begin, facts, &encode(), 0))
    };
    assert_eq!((at(23), at(5), at(6), at(12)), ("allowed", "allowed", "policy:hours", "policy:hours"));
}

#[test]
fn hours_begin_with_their_first_moment_and_end_before_their_last() {
    let policy = policy("allow = [\"*\"]\nhours = \"08:00-20:00\"");
    let at = |hour, minute, second| {
        let facts = Facts {
            local_time: Time::constant(hour, minute, second, 0),
            ..facts("encode_credential", Priority::Interactive)
        };
        rule(ruled(Some(&policy), Moment::Begin, facts, &encode(), 0)) == "allowed"
    };
    assert!(at(8, 0, 0) && at(19, 59, 59) && at(12, 0, 0));
    assert!(!at(7, 59, 59) && !at(20, 0, 0) && !at(0, 0, 0));
}

#[test]
fn an_attempt_counts_towards_its_encoder_and_each_of_its_rooms() {
    let rooms = ["101".to_owned(), "102".to_owned()];
    assert_eq!(subjects(&encode(), &rooms), ["encodes:desk", "room:101", "room:102"]);
    assert_eq!(subjects(&grant("101", 1), &rooms), ["grants"]);
    assert_eq!(subjects(&Body::DeleteGrant(DeleteGrant::default()), &rooms), [""; 0]);
    let policy = policy("allow = [\"*\"]\nencodes_per_hour = 5\nencodes_per_day = 9");
    let interactive = facts("encode_credential", Priority::Interactive);
    let asked = |at_desk: u64| {
        let rate = move |subject: &str, hours: u64| if subject == "encodes:desk" && hours == 24 { at_desk } else { 0 };
        rule(check(Some(&policy), Moment::Begin, interactive, &encode(), &[], &rate))
    };
    assert_eq!((asked(8), asked(9)), ("allowed", "policy:encodes_per_day"));
}

#[test]
fn a_door_is_opened_from_afar_only_where_the_policy_allows_that_door() {
    let policy = policy("allow = [\"unlock_entrance\"]\nentrances = [\"1*\"]");
    let ask = |entrance: &str| {
        let unlock = Body::UnlockEntrance(UnlockEntrance { entrance_external_id: entrance.into() });
        rule(ruled(Some(&policy), Moment::Accept, facts("unlock_entrance", Priority::Interactive), &unlock, 0))
    };
    assert_eq!((ask("101"), ask("201")), ("allowed", "policy:entrance"));
}

#[test]
fn a_file_is_read_up_to_its_bound_and_mistakes_are_told_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let sized = |bytes: usize| {
        let text = "version = 3\n[systems.\"*\"]\nallow = [\"*\"]\n#";
        std::fs::write(&path, format!("{text}{}", "x".repeat(bytes - text.len()))).expect("writes");
        Policy::load(&path)
    };
    assert_eq!(sized(256 * 1024).expect("at the bound").version, 3);
    let Err(PolicyError::Unreadable { reason, .. }) = sized(256 * 1024 + 1) else { panic!("one over the bound") };
    assert!(reason.contains("262145 bytes"), "{reason}");
    let told = Policy::parse("version = 0\n[systems]\n").expect_err("two mistakes").to_string();
    assert_eq!(
        told,
        "the policy file has 2 mistake(s): `version`: expected a whole number from 1; `systems`: expected at least one table \
         `[systems.<name>]` or `[systems.\"*\"]`"
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "version = 0\ncolour = 1\n[systems.tower]\nallow = [\"open_everything\"]\nhours = \"late\"\nencodes_per_hour = -1\n";
    let Err(PolicyError::Mistakes(mistakes)) = Policy::parse(text) else { panic!("five mistakes") };
    let keys: BTreeSet<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    let expected =
        ["colour", "systems.tower.allow", "systems.tower.encodes_per_hour", "systems.tower.hours", "version"];
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), expected);
    let keys = |text: &str| match Policy::parse(text) {
        Ok(_) => Vec::new(),
        Err(PolicyError::Mistakes(mistakes)) => mistakes.into_iter().map(|mistake| mistake.key).collect(),
        Err(other) => panic!("{other}"),
    };
    // One mistake is told once, whether the key is missing or not a list.
    assert_eq!(keys("version = 1\n[systems.tower]\nallow = 5\n"), ["systems.tower.allow"]);
    assert_eq!(keys("version = 1\n[systems.tower]\nhours = \"08:00-20:00\"\n"), ["systems.tower.allow"]);
    assert_eq!(keys("version = 1\n[systems.tower]\nallow = [\"*\"]\n"), [""; 0]);
    assert!(matches!(Policy::parse("version = "), Err(PolicyError::Syntax { .. })));
    assert!(matches!(Policy::parse("version = 1"), Err(PolicyError::Mistakes(_))));
    assert!(matches!(Policy::load("/nowhere/policy.toml".as_ref()), Err(PolicyError::Unreadable { .. })));
}

#[test]
fn patterns_stand_for_any_run_of_characters() {
    for (pattern, text, matches) in [
        ("*", "", true),
        ("1*", "101", true),
        ("1*", "201", false),
        ("*-gym", "a-gym", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxcyyb", false),
        ("gym", "gym", true),
        ("gym", "gymn", false),
        ("ab*ab", "ab", false),
    ] {
        assert_eq!(matches_pattern(pattern, text), matches, "{pattern} {text}");
    }
}
