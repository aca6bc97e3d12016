use lockbridge_protocol::proto::tunnel::{DeleteGrant, EncodeCredential, Priority, PutGrant, UnlockEntrance};

use super::check::matches_pattern;
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
    assert_eq!(ask("put_user", &grant("101", 1)), "policy:allow");
    let unlock = Body::UnlockEntrance(UnlockEntrance { entrance_external_id: "101".into() });
    assert_eq!(ask("unlock_entrance", &unlock), "policy:allow");
    let mut other = facts("put_grant", Priority::Convergent);
    other.minimum_version = 4;
    assert_eq!(rule(ruled(Some(&policy), Moment::Accept, other, &grant("101", 1), 0)), "policy:version");
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
fn every_mistake_is_told_at_once() {
    let text = "version = 0\ncolour = 1\n[systems.tower]\nallow = [\"open_everything\"]\nhours = \"late\"\nencodes_per_hour = -1\n";
    let Err(PolicyError::Mistakes(mistakes)) = Policy::parse(text) else { panic!("five mistakes") };
    let keys: BTreeSet<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    let expected =
        ["colour", "systems.tower.allow", "systems.tower.encodes_per_hour", "systems.tower.hours", "version"];
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), expected);
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
