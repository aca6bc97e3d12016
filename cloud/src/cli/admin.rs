//! Administrative commands on the data directory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ed25519_dalek::SigningKey;
use lockbridge_protocol::enrollment::EnrollmentToken;
use lockbridge_protocol::signed::witness::WitnessFile;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::print_line;
use super::serve::HUB_URL_FILE;
use crate::authority::Authority;
use crate::clock::now_ms;
use crate::enroll::Ca;
use crate::store::{DataDirectory, Store, StoreError, bridges, journals, tokens, workspaces};

/// Longest life of an enrollment token (rule H1).
const LIFE_MAXIMUM: Duration = Duration::from_secs(24 * 3600);

pub(super) fn open(data: &Path) -> anyhow::Result<(DataDirectory, Store)> {
    let directory = DataDirectory::open(data)?;
    let store = Store::open(&directory.database())?;
    Ok((directory, store))
}

pub(super) async fn create_workspace(data: &Path, name: String) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    let id = store.write(move |tx| workspaces::create(tx, now_ms(), &name)).await.context("creating a workspace")?;
    print_line(&id);
    Ok(())
}

pub(super) async fn create_api_key(data: &Path, workspace: String, name: String) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    require_workspace(&store, &workspace).await?;
    let write = store.write(move |tx| workspaces::create_api_key(tx, now_ms(), &workspace, &name));
    print_line(write.await.context("creating an API key")?.expose_secret());
    Ok(())
}

pub(super) async fn create_token(
    data: &Path,
    workspace: String,
    site: String,
    life: Duration,
    hub_url: Option<String>,
) -> anyhow::Result<()> {
    let (directory, store) = open(data)?;
    require_workspace(&store, &workspace).await?;
    let hub_url = match hub_url {
        Some(url) => url,
        None => std::fs::read_to_string(directory.path(HUB_URL_FILE))
            .context("the hub's address is not known yet: start `lockbridge-cloud serve` once, or give --hub-url")?,
    };
    let ca = Ca::open(&directory)?;
    let mut seed = Zeroizing::new([0; 32]);
    if SystemRandom::new().fill(seed.as_mut_slice()).is_err() {
        bail!("no random bytes for a token");
    }
    let hub_url = hub_url.trim().to_owned();
    let token = EnrollmentToken { hub_url, ca_key_hash: ca.key_hash(), key: SigningKey::from_bytes(&seed) };
    // A wrong address must fail here, not at the bridge.
    let text = token.reveal();
    EnrollmentToken::parse(&text).context("the token would not be readable")?;
    let public_key = token.public_key();
    let life_ms = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
    store
        .write(move |tx| {
            let now = now_ms();
            let site_id = workspaces::site(tx, now, &workspace, &site)?;
            tokens::create(tx, now, &public_key, &workspace, &site_id, now.saturating_add(life_ms))
        })
        .await
        .context("creating an enrollment token")?;
    print_line(&text);
    Ok(())
}

pub(super) async fn list_bridges(data: &Path, workspace: Option<String>) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    let found = store.read(move |connection| bridges::list(connection, workspace.as_deref())).await?;
    for bridge in found {
        print_line(
            &serde_json::json!({
                "bridge_id": bridge.bridge_id,
                "workspace_id": bridge.workspace_id,
                "site_id": bridge.site_id,
                "display_name": bridge.display_name,
                "software_version": bridge.software_version,
                "connected": bridge.link_up,
                "last_seen_at_ms": bridge.last_seen_at_ms,
                "revoked": bridge.revoked_at_ms.is_some(),
                "deliveries": bridge.delivered_last,
                "deliveries_durable": bridge.commands_durable_through,
                "reports_durable": bridge.reports_durable_through,
            })
            .to_string(),
        );
    }
    Ok(())
}

pub(super) async fn print_witness(data: &Path, bridge: String) -> anyhow::Result<()> {
    let (directory, store) = open(data)?;
    let authority = Authority::open(&directory)?;
    let bridge_id = bridge.clone();
    let found = store.read(move |connection| {
        let bridge = bridges::find(connection, &bridge_id)?;
        Ok::<_, StoreError>(bridge.zip(Some(journals::witnessed(connection, &bridge_id)?)))
    });
    let Some((bridge, witnessed)) = found.await? else {
        bail!("there is no bridge {bridge}; see `lockbridge-cloud bridge list`");
    };
    if witnessed.is_empty() {
        bail!("no audit checkpoint of the bridge was witnessed yet; one comes within a minute of its first session");
    }
    for checkpoint in &witnessed {
        let file = WitnessFile {
            bridge_id: bridge.bridge_id.clone(),
            audit_key: bridge.audit_key.clone(),
            authority_keys: vec![authority.public().public_key],
            witness: authority.countersign(checkpoint),
        };
        print_line(&file.to_line());
    }
    Ok(())
}

pub(super) async fn revoke_bridge(data: &Path, bridge: String) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    let bridge_id = bridge.clone();
    let (known, revoked) = store
        .write(move |tx| {
            let known = bridges::find(tx, &bridge_id)?.is_some();
            Ok::<_, StoreError>((known, bridges::revoke(tx, now_ms(), &bridge_id)?))
        })
        .await?;
    match (known, revoked) {
        (false, _) => bail!("there is no bridge {bridge}; see `lockbridge-cloud bridge list`"),
        (true, false) => bail!("bridge {bridge} was already revoked"),
        (true, true) => Ok(()),
    }
}

async fn require_workspace(store: &Store, workspace: &str) -> anyhow::Result<()> {
    let id = workspace.to_owned();
    match store.read(move |connection| workspaces::name(connection, &id)).await? {
        Some(_) => Ok(()),
        None => bail!("there is no workspace {workspace}; `lockbridge-cloud workspace create` makes one"),
    }
}

/// Reads `90s`, `30m` or `1h`, up to 24 hours.
pub(super) fn life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a life: give a number and s, m or h, such as 1h, at most 24h");
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    let life = Duration::from_secs(number.saturating_mul(unit));
    if life.is_zero() || life > LIFE_MAXIMUM { Err(wrong()) } else { Ok(life) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_short() {
        assert_eq!(life("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(life("24h"), Ok(LIFE_MAXIMUM));
        for bad in ["", "h", "1", "0s", "25h", "1d", "-1h", "1é"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
