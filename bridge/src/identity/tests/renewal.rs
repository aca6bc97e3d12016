use std::path::Path;
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{EnrollRefused, RenewResponse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::renewal::{self, RenewError, Renewal, renew};
use super::super::store::Paths;
use super::super::test_hub::{DAY, signed_anew};
use super::super::{Identity, keys};
use super::{Site, enrolled};

use crate::clock::Clock as _;
use crate::health::{Health, ReasonCode, Scope};
use crate::net::Dialer;
use crate::net::test_support::TestCa;

#[tokio::test]
async fn a_renewed_pair_is_used_only_after_a_session_proved_it() {
    let (hub, site, identity) = enrolled().await;
    let (time, old) = (site.time(), identity.newest());
    renew(&identity, &Dialer::new(None), &time).await.expect("renews");
    let new = identity.newest();
    assert_ne!(new.public_key, old.public_key, "a fresh key each time");
    assert_eq!(hub.with(|state| state.renewed_keys.clone()), std::slice::from_ref(&new.public_key));
    // Sessions take turns until one is proven; the same after a restart.
    for identity in [&identity, &site.load().expect("enrolled")] {
        let shown: Vec<_> = (0..4).map(|_| identity.session_client(&time).expect("a client").certificate).collect();
        assert_eq!(shown, [new.fingerprint, old.fingerprint, new.fingerprint, old.fingerprint]);
    }
    identity.on_session_proven(&old.fingerprint, 0).expect("proves the old one only");
    assert_eq!(identity.certificate_times(), old.times);
    assert!(Paths::of(&site.state()).next().exists());
    let now = site.clock.wall_ms();
    identity.on_session_proven(&new.fingerprint, now).expect("proven");
    for identity in [&identity, &site.load().expect("enrolled")] {
        assert_eq!(identity.session_client(&time).expect("a client").certificate, new.fingerprint);
    }
    // The one before stays for 24 h, with its key.
    let paths = Paths::of(&site.state());
    let keys = |path: &Path| keys::Keys::load(path, &site.sealer()).expect("opens").expect("is there");
    let day = i64::try_from(DAY.as_millis()).expect("fits");
    identity.drop_previous(now + day - 1).expect("keeps");
    assert!(paths.previous().exists() && keys(&paths.keys()).identity_key(&old.public_key).is_some());
    identity.drop_previous(now + day).expect("drops");
    assert!(!paths.previous().exists() && keys(&paths.keys()).identity_key(&old.public_key).is_none());
    assert_eq!(site.load().expect("enrolled").newest().fingerprint, new.fingerprint);
}

#[tokio::test]
async fn a_lost_renewal_is_asked_for_again_with_the_same_key_even_after_a_restart() {
    let (hub, site, identity) = enrolled().await;
    hub.with(|state| state.lose_answers = 1);
    let error = renew(&identity, &Dialer::new(None), &site.time()).await.expect_err("no answer");
    assert!(matches!(error, RenewError::Exchange(_)), "{error:?}");
    let restarted = site.load().expect("enrolled");
    renew(&restarted, &Dialer::new(None), &site.time()).await.expect("renews");
    let keys = hub.with(|state| state.renewed_keys.clone());
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(restarted.newest().public_key, keys[0]);
    assert_eq!(site.load().expect("enrolled").newest().public_key, keys[0]);
}

#[tokio::test]
async fn a_crash_while_switching_leaves_one_good_pair() {
    let (_hub, site, identity) = enrolled().await;
    let time = site.time();
    renew(&identity, &Dialer::new(None), &time).await.expect("renews");
    let (new, paths) = (identity.newest(), Paths::of(&site.state()));
    let next = std::fs::read(paths.next()).expect("reads");
    identity.on_session_proven(&new.fingerprint, site.clock.wall_ms()).expect("proven");
    // As if it had stopped after the switch and before the clean-up.
    std::fs::write(paths.next(), next).expect("writes");
    let restarted = site.load().expect("enrolled");
    for _ in 0..2 {
        assert_eq!(restarted.session_client(&time).expect("a client").certificate, new.fingerprint);
    }
    // A spare that is damaged is no reason not to start.
    std::fs::write(paths.next(), b"garbage").expect("writes");
    assert_eq!(site.load().expect("enrolled").newest().fingerprint, new.fingerprint);
}

fn renewal_of(site: &Site, identity: &Identity) -> Renewal {
    Renewal {
        identity: identity.clone(),
        dialer: Dialer::new(None),
        time: site.time(),
        clock: site.clock.clone(),
        health: Health::new(site.clock.clone()),
        copied: watch::Sender::new(None),
        disowned: None,
        wait_until: Duration::ZERO,
    }
}

#[tokio::test]
async fn renewal_comes_at_half_life_and_again_after_a_failure() {
    let (hub, site, identity) = enrolled().await;
    let mut renewal = renewal_of(&site, &identity);
    // Day 7 of 30.
    assert!(!renewal.look().await);
    // Day 19: due for any throw of the dice.
    site.clock.advance(12 * DAY);
    hub.with(|state| state.refuse = Some((503, EnrollRefused::default())));
    assert!(renewal.look().await);
    hub.with(|state| state.refuse = None);
    assert!(!renewal.look().await, "not at once again");
    site.clock.advance(Duration::from_secs(3600 - 1));
    assert!(!renewal.look().await);
    site.clock.advance(Duration::from_secs(1));
    // June 13: the hub gives a certificate of that day.
    hub.with(|state| state.first_day = (6, 13));
    assert!(renewal.look().await);
    assert_eq!(hub.with(|state| state.renewed_keys.len()), 1);
    site.clock.advance(DAY);
    assert!(!renewal.look().await, "the renewed one is young");
}

#[tokio::test]
async fn an_expired_certificate_is_a_reason_until_it_is_renewed() {
    let (hub, site, identity) = enrolled().await;
    let mut renewal = renewal_of(&site, &identity);
    // July 1. What the hub gives first is over, too.
    site.clock.advance(30 * DAY);
    assert!(renewal.look().await);
    let reasons = renewal.health.reasons();
    assert_eq!(reasons.len(), 1);
    assert_eq!((reasons[0].scope.clone(), reasons[0].code), (Scope::Bridge, ReasonCode::Identity));
    assert!(reasons[0].message.contains("2027-06-24T00:00:00Z"), "{}", reasons[0].message);
    hub.with(|state| state.first_day = (6, 30));
    site.clock.advance(Duration::from_secs(15 * 60));
    assert!(renewal.look().await);
    assert_eq!(renewal.health.reasons(), []);
}

#[tokio::test]
async fn the_task_renews_what_is_due_at_start_and_ends_when_told() {
    let (hub, site, identity) = enrolled().await;
    site.clock.advance(12 * DAY);
    hub.with(|state| state.first_day = (6, 13));
    let stop = CancellationToken::new();
    let health = Health::new(site.clock.clone());
    let (clock, copied) = (site.clock.clone(), watch::Sender::new(None));
    let task = renewal::run(identity, Dialer::new(None), site.time(), clock, health, copied, stop.clone());
    let task = tokio::spawn(task);
    let renewed = async {
        while !Paths::of(&site.state()).next().exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("renews");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.expect("ends").expect("without a panic");
}

#[tokio::test]
async fn a_renewal_that_does_not_fit_changes_nothing() {
    let (hub, site, identity) = enrolled().await;
    let paths = Paths::of(&site.state());
    let ca = std::fs::read(paths.ca()).expect("reads");
    let alterations: [fn(&mut RenewResponse); 4] = [
        // Whole in itself, but the certificate in use would stand alone.
        |answer| {
            let next = TestCa::new("Next CA");
            answer.certificate_chain[0] = signed_anew(&answer.certificate_chain[0], &next);
            answer.ca_bundle = vec![next.certificate.to_vec()];
        },
        |answer| answer.ca_bundle = vec![TestCa::new("Example CA").certificate.to_vec()],
        |answer| answer.ca_bundle.clear(),
        |answer| answer.certificate_chain.clear(),
    ];
    for alter in alterations {
        hub.with(|state| state.alter_renewal = Some(alter));
        renew(&identity, &Dialer::new(None), &site.time()).await.expect_err("refused");
    }
    hub.with(|state| (state.alter_renewal, state.swap_key) = (None, true));
    renew(&identity, &Dialer::new(None), &site.time()).await.expect_err("another key");
    assert_eq!(std::fs::read(paths.ca()).expect("reads"), ca);
    assert!(!paths.next().exists());
    // A second CA beside the present one is taken, before it signs anything.
    hub.with(|state| {
        state.swap_key = false;
        state.alter_renewal = Some(|answer| answer.ca_bundle.push(TestCa::new("Next CA").certificate.to_vec()));
    });
    renew(&identity, &Dialer::new(None), &site.time()).await.expect("renews");
    assert_ne!(std::fs::read(paths.ca()).expect("reads"), ca);
    site.load().expect("enrolled").session_client(&site.time()).expect("a client");
}

#[tokio::test]
async fn a_revoked_bridge_says_so_until_it_is_renewed() {
    let (hub, site, identity) = enrolled().await;
    let mut renewal = renewal_of(&site, &identity);
    site.clock.advance(12 * DAY);
    let message = "this bridge is revoked".to_owned();
    let refused = EnrollRefused { code: "identity_revoked".to_owned(), message, hub_time_ms: 0 };
    hub.with(|state| state.refuse = Some((403, refused)));
    assert!(renewal.look().await);
    assert!(!renewal.look().await);
    let reasons = renewal.health.reasons();
    assert_eq!(reasons.len(), 1, "it stays between the tries");
    assert!(reasons[0].message.contains("this bridge is revoked"), "{}", reasons[0].message);
    hub.with(|state| (state.refuse, state.first_day) = (None, (6, 13)));
    site.clock.advance(Duration::from_secs(3600));
    assert!(renewal.look().await);
    assert_eq!(renewal.health.reasons(), []);
}

#[tokio::test]
async fn a_stale_generation_is_told_as_a_copy() {
    let (hub, site, identity) = enrolled().await;
    let mut renewal = renewal_of(&site, &identity);
    let copied = renewal.copied.subscribe();
    site.clock.advance(12 * DAY);
    let message = "already renewed for another key".to_owned();
    hub.with(|state| state.refuse = Some((503, EnrollRefused::default())));
    assert!(renewal.look().await);
    assert_eq!(*copied.borrow(), None, "a hub that is busy says nothing of copies");
    let refused = EnrollRefused { code: "generation_stale".to_owned(), message, hub_time_ms: 0 };
    hub.with(|state| state.refuse = Some((409, refused)));
    site.clock.advance(Duration::from_secs(3600));
    assert!(renewal.look().await);
    assert!(copied.borrow().as_deref().is_some_and(|told| told.contains("already renewed for another key")));
}

#[tokio::test]
async fn an_unproven_certificate_is_renewed_by_itself() {
    let (hub, site, identity) = enrolled().await;
    let time = site.time();
    renew(&identity, &Dialer::new(None), &time).await.expect("renews");
    let first = identity.newest();
    renew(&identity, &Dialer::new(None), &time).await.expect("renews again");
    let second = identity.newest();
    assert_eq!(hub.with(|state| state.shown.clone()).last(), Some(&first.fingerprint), "an older one would be stale");
    assert_ne!(second.fingerprint, first.fingerprint);
    let keys = keys::Keys::load(&Paths::of(&site.state()).keys(), &site.sealer()).expect("opens").expect("is there");
    assert!(keys.identity_key(&first.public_key).is_none(), "keys do not pile up");
    assert_eq!(keys.identity.len(), 2);
}
