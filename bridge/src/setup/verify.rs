//! Answers against the world: the checks of `lockbridge check`, on a configuration that is not written yet.

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::enrollment::EnrollmentToken;
use secrecy::ExposeSecret as _;

use super::{Answers, Group};
use crate::check::{self, Cloud, Context, Finding, Outcome, Trust};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::net::Dialer;
use crate::system::{Operation, OperationError, Performed};

/// For somebody to put a card on the encoder.
const CARD: Duration = Duration::from_secs(30);

/// What belongs to a group, hop by hop.
fn checks(group: Group) -> &'static [&'static str] {
    match group {
        Group::Cloud => &["cloud_name", "cloud_route", "cloud_proxy", "cloud_tls", "cloud_answer", "clock"],
        Group::LockSystem => &["lock_address", "lock_answer", "lock_login", "lock_licence", "lock_clock", "line"],
        Group::Encoders => &["encoder"],
        Group::FrontDesk => &["line"],
    }
}

/// Verifies the answers of one group with `config`, which is made of them; `present`: the one in use, if there is one. Findings
/// that say something; skipped ones do not.
pub async fn verify(group: Group, answers: &Answers, config: Config, present: Option<&Config>) -> Vec<Finding> {
    let clock = Arc::new(SystemClock);
    let proxy = config.proxy.clone();
    let name = answers.text("lock_system").unwrap_or_default().to_owned();
    let mut config = config;
    let is_desk = group == Group::FrontDesk;
    config.lock_systems.retain(|system| system.name == name && !is_desk);
    config.front_desks.retain(|desk| is_desk && Some(desk.name.as_str()) == answers.front_desk());
    let mut context = Context::gather(config, clock.clone()).await.for_planned_lines(present);
    if let Some(token) = answers.secret("token").and_then(|text| EnrollmentToken::parse(text.expose_secret()).ok()) {
        let trust = Trust::KeyHash(token.ca_key_hash);
        if let Some(cloud) = Cloud::new(&token.hub_url, trust, Dialer::new(proxy), clock) {
            context = context.with_cloud(cloud);
        }
    }
    let only: Vec<String> = checks(group).iter().map(|id| (*id).to_owned()).collect();
    let findings = check::run(&context, &only).await;
    findings.into_iter().filter(|finding| finding.outcome != Outcome::Skipped).collect()
}

/// Waits for a card on the encoder and reads it; nothing is written.
pub async fn read_card(config: &Config, system: &str, encoder: &str) -> Result<Performed, OperationError> {
    let clock: Arc<dyn crate::clock::Clock> = Arc::new(SystemClock);
    let found = config.lock_systems.iter().find(|configured| configured.name == system);
    let adapter = found.and_then(|found| crate::app::lock_system(found, &clock).ok());
    match adapter {
        Some(adapter) => adapter.perform(Operation::ReadCard { encoder: encoder.to_owned() }, CARD).await,
        None => Err(OperationError {
            code: "uncategorized_error",
            message: format!("the lock system {system} cannot be set up"),
            vendor_code: String::new(),
            vendor_text: String::new(),
            effect: crate::system::Effect::None,
            retry: crate::system::Retry::Never,
        }),
    }
}
