//! A site with property software at its front desk: how both are started, what is asked, and how answers are read.

use std::time::Duration;

use anyhow::Result;
use jiff::{ToSpan, Zoned};
use lockbridge_tests::harness::{FiasSimulator, Site, SiteOptions};
use serde_json::Value;
use tempfile::TempDir;

pub(super) const DESK: &str = "Front desk 1";
/// What is the same in every configuration here.
pub(super) const COMMON: &str = r#"
rooms = { "0101" = "ROOM101" }
encoders = { "1" = "Front desk 1", "2" = "Front desk 2" }
record_spacing_ms = 5
"#;

/// A site whose front desk has `lines` in its table. The cloud is cut off.
pub(super) async fn site(lines: &str, card_wait: &str) -> Result<Site> {
    let site = connected_site(lines, card_wait).await?;
    site.link.cut();
    site.wait_for_status("no session", Duration::from_secs(60), |status| status["cloud"]["connected"] == false).await?;
    Ok(site)
}

pub(super) async fn connected_site(lines: &str, card_wait: &str) -> Result<Site> {
    let simulator = ["--card-wait", card_wait, "--updating-readers"].map(str::to_owned).to_vec();
    let tables = format!("[front_desk.reception]\n{lines}\n{COMMON}");
    Site::running(SiteOptions { simulator, tables, ..SiteOptions::default() }).await
}

/// Property software that listens, and a site that connects to it.
pub(super) async fn over_tcp(lines: &str, card_wait: &str) -> Result<(TempDir, FiasSimulator, Site)> {
    let folder = tempfile::tempdir()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let site = site(&format!("host = \"127.0.0.1\"\nport = {}\n{lines}", pms.port()?), card_wait).await?;
    pms.alive(1).await?;
    Ok((folder, pms, site))
}

pub(super) fn day(from_today: i64) -> String {
    (Zoned::now() + from_today.days()).strftime("%y%m%d").to_string()
}

/// The fields of a key request for two nights.
pub(super) fn key<'a>(
    room: &'a str,
    kind: &'a str,
    reservation: &'a str,
    days: &'a [String; 2],
) -> [(&'static str, &'a str); 8] {
    [
        ("WS", "FO1"),
        ("KC", "1"),
        ("RN", room),
        ("KT", kind),
        ("G#", reservation),
        ("GA", &days[0]),
        ("GD", &days[1]),
        ("GN", "Example, Ada"),
    ]
}

pub(super) fn status(answer: &Value) -> &str {
    answer["AS"].as_str().unwrap_or_default()
}

pub(super) fn text(answer: &Value) -> &str {
    answer["CT"].as_str().unwrap_or_default()
}

/// A free port of this machine, for a moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
