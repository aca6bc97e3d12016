//! `lockbridge-cloud serve`: build, announce, run, drain.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use lockbridge_protocol::enrollment::EnrollmentToken;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use super::{drain, print_line, upkeep};
use crate::api::{self, ApiState};
use crate::authority::Authority;
use crate::clock::now_ms;
use crate::enroll::{CERTIFICATE_FILE, Ca, Enroller};
use crate::hub::{AdmissionSettings, Hub, HubParts};
use crate::model::ingest::ModelIngest;
use crate::net::{self, Limits};
use crate::store::{DataDirectory, Store};

/// Where `serve` notes the address that tokens carry.
pub(super) const HUB_URL_FILE: &str = "hub-url";

/// API clients at once: integrations and a few people.
const API_LIMITS: Limits = Limits { handshakes: 32, connections: 1_000 };

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Data directory: database, keys, CA; made at the first start.
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Address for bridges; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    hub_listen: SocketAddr,
    /// Host name or address in the server's certificate; may be repeated. The first one is what bridges dial.
    #[arg(long = "hub-name", default_value = "localhost")]
    hub_names: Vec<String>,
    /// Address for the API; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    api_listen: SocketAddr,
    /// `https://host:port` of the hub as bridges reach it, if not the first name and the port listened on.
    #[arg(long)]
    public_hub_url: Option<String>,
    /// Longest spread of the goodbyes at shutdown, in seconds.
    #[arg(long, default_value_t = 30)]
    drain_window_s: u32,
    /// New sessions a second that are let in; the others are asked to come back later.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    sessions_per_second: u32,
    /// Stop when stdin is closed, for a parent process that may die.
    #[arg(long)]
    exit_with_stdin: bool,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
    /// How much to log.
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
}

pub(super) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    log_to_stderr(&arguments);
    let directory = DataDirectory::open(&arguments.data)?;
    let _claim = directory.claim()?;
    let store = Store::open(&directory.database())?;
    let authority = Authority::open(&directory)?;
    let ca = Arc::new(Ca::open(&directory)?);

    let hub_listener = listen(arguments.hub_listen, "--hub-listen").await?;
    let api_listener = listen(arguments.api_listen, "--api-listen").await?;
    let (hub_address, api_address) = (hub_listener.local_addr()?, api_listener.local_addr()?);
    let hub_url = hub_url(&arguments, &ca, hub_address)?;
    directory.write(HUB_URL_FILE, hub_url.as_bytes(), true)?;

    let identity = ca.server_identity(&arguments.hub_names).context("issuing the server's certificate")?;
    let hub_tls = net::hub_config(ca.certificate(), identity.chain.clone(), identity.key.clone_key())?;
    let api_tls = net::api_config(identity.chain, identity.key)?;

    let tunnel_url = format!("{}/v1/tunnel", hub_url.replacen("https://", "wss://", 1));
    let hub = Hub::start(HubParts {
        store: store.clone(),
        authority: authority.clone(),
        ingest: Arc::new(ModelIngest::new(authority.clone())),
        enroller: Enroller::new(store.clone(), Arc::clone(&ca), authority.public(), &tunnel_url),
        admission: AdmissionSettings {
            sessions_per_second: arguments.sessions_per_second,
            burst: arguments.sessions_per_second.saturating_mul(2),
        },
        drain_window: Duration::from_secs(arguments.drain_window_s.into()),
    })
    .await
    .context("starting the hub")?;

    let stop = CancellationToken::new();
    let serving_hub = hub.serve(hub_listener, hub_tls, stop.clone());
    let api_url = format!("https://{}:{}", host(&arguments.hub_names), api_address.port());
    let router = api::router(ApiState {
        store: store.clone(),
        authority,
        link: Arc::new(hub.clone()),
        origin: api_url.clone(),
        clock: Arc::new(now_ms),
    });
    let serving_api = net::serve_router(api_listener, api_tls, API_LIMITS, router, stop.clone());
    announce(&directory, &hub_url, hub_address, &api_url, api_address)?;
    let stopping = async {
        let reason = drain::requested(arguments.exit_with_stdin).await;
        tracing::info!(?reason, "Stopping.");
        stop.cancel();
    };
    let ended = async { tokio::join!(serving_hub, serving_api, upkeep::attempts(store, stop.clone()), stopping) };
    tokio::select! {
        _ = ended => Ok(()),
        () = second_request(&stop) => bail!("stopped at once, by a second signal; sessions were not drained"),
    }
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}; choose another {flag}"))
}

/// The address that tokens carry, checked by the code that will read them.
fn hub_url(arguments: &ServeArguments, ca: &Ca, bound: SocketAddr) -> anyhow::Result<String> {
    let own = || format!("https://{}:{}", host(&arguments.hub_names), bound.port());
    let url = arguments.public_hub_url.clone().unwrap_or_else(own);
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let token = EnrollmentToken { hub_url: url, ca_key_hash: ca.key_hash(), key };
    let read = EnrollmentToken::parse(&token.reveal()).context("--public-hub-url or --hub-name")?;
    Ok(read.hub_url)
}

/// The first name of the server's certificate, as it stands in a URL.
fn host(names: &[String]) -> String {
    let name = names.first().map_or("localhost", String::as_str);
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

/// One line for the parent process: everything is bound and ready.
fn announce(
    directory: &DataDirectory,
    hub_url: &str,
    hub_address: SocketAddr,
    api_url: &str,
    api_address: SocketAddr,
) -> anyhow::Result<()> {
    let ready = serde_json::json!({
        "hub_address": hub_address.to_string(),
        "hub_url": hub_url,
        "api_address": api_address.to_string(),
        "api_url": api_url,
        "ca_file": directory.path(CERTIFICATE_FILE),
    });
    print_line(&ready.to_string());
    std::io::stdout().flush().context("telling that the server is ready")
}

/// Resolves at the second request to stop.
async fn second_request(stop: &CancellationToken) {
    stop.cancelled().await;
    if drain::requested(false).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn log_to_stderr(arguments: &ServeArguments) {
    let builder = tracing_subscriber::fmt().with_max_level(arguments.log_level).with_writer(std::io::stderr);
    let set = if arguments.log_json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    // Only a second server in one process could have set one before; its log serves both.
    drop(set);
}
