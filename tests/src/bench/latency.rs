//! From the hub to the lock server: how long a command takes from the last byte of its frame at the bridge's door to the
//! first byte of its request at the lock server's.
//!
//! Two relays in this process see both, so one clock tells. In between lie two flushes of the disk (the command is received;
//! its attempt is intended) and a fresh connection, because an opening must not be sent twice. Beside it stand a raw flush
//! of the same disk and a round trip over TLS.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Table, percentile, whole};
use crate::harness::{Passed, Site, SiteOptions, until};

/// An opening's request at the lock server, in plain XML.
const REQUEST: &[u8] = b"OnlineDoor.Open";
/// A command frame is longer than this, an acknowledgement or a ping shorter.
const COMMAND_FRAME_BYTES: usize = 200;
/// About a command with its signature.
const MESSAGE_BYTES: usize = 600;
const RAW_SAMPLES: usize = 500;
/// One opening, its report included.
const OPENING: Duration = Duration::from_secs(20);

/// Measures `samples` openings; the raw file is made below `directory`, the site in the temporary folder.
pub fn run(directory: &Path, samples: usize) -> Result<Vec<Table>> {
    ensure!(samples > 0, "at least one sample is needed");
    whole::block_on(measure(directory, samples))
}

async fn measure(directory: &Path, samples: usize) -> Result<Vec<Table>> {
    let site = Site::running(SiteOptions { relay_lock_server: true, ..whole::options() }).await?;
    let door = online_door(&site).await?;
    let (mut times, mut unclear) = (Vec::new(), 0);
    while times.len() < samples {
        match open_once(&site, &door).await? {
            Some(time) => times.push(time),
            None => unclear += 1,
        }
        ensure!(unclear <= samples, "{unclear} openings could not be told apart from other traffic");
    }
    drop(site);
    let raw = raw_flushes(directory)?;
    let tls = tls_round_trips().await?;
    let mut rows = Vec::new();
    for (name, mut times) in [
        ("hub's command to first byte at the lock server", times),
        ("raw write + fdatasync of 512 bytes", raw),
        ("TLS 1.3 round trip on loopback, 600 bytes", tls),
    ] {
        times.sort_unstable();
        let of = |share| percentile(&times, share).as_micros().to_string();
        rows.push(vec![name.to_owned(), times.len().to_string(), of(0.0), of(0.5), of(0.99), of(1.0)]);
    }
    Ok(vec![Table {
        title: format!(
            "Latency of one interactive command at a time ({unclear} samples left out, other traffic in between)"
        ),
        columns: vec!["", "samples", "min µs", "p50 µs", "p99 µs", "max µs"],
        rows,
        aims: Vec::new(),
    }])
}

async fn online_door(site: &Site) -> Result<String> {
    let entrances = whole::entrances(site).await?;
    let online = entrances.iter().find(|door| door["can_unlock_with_cloud_key"] == true);
    let door = online.with_context(|| format!("no entrance can be opened remotely: {entrances:?}"))?;
    Ok(door["acs_entrance_id"].as_str().context("an entrance without an id")?.to_owned())
}

/// Opens the door once; `None` when it cannot be told which bytes were the command.
async fn open_once(site: &Site, door: &str) -> Result<Option<Duration>> {
    let lock_server = site.lock_server_link.as_ref().context("a relay before the lock server")?;
    // Whatever the last opening left to tell has been told and acknowledged.
    site.wait_for_status("an empty outbox", OPENING, |status| status["engine"]["outbox"] == 0).await?;
    site.link.record();
    lock_server.record();
    let answer = site.api.post("/acs/entrances/unlock", json!({ "acs_entrance_id": door })).await?;
    let id = answer["action_attempt"]["action_attempt_id"].clone();
    let attempt = until("the end of the opening", OPENING, async || {
        let body = json!({ "action_attempt_id": id });
        let answer = site.api.post("/action_attempts/get", body).await.map_err(|error| error.to_string())?;
        let attempt = answer["action_attempt"].clone();
        if attempt["status"] == "pending" { Err(attempt.to_string()) } else { Ok(attempt) }
    })
    .await?;
    ensure!(attempt["status"] == "success", "the opening ended as {attempt}");
    Ok(between(&site.link.recorded(), &lock_server.recorded()))
}

/// From the one command frame before the request to the request.
fn between(from_hub: &[Passed], to_server: &[Passed]) -> Option<Duration> {
    let asks = |piece: &&Passed| !piece.to_client && piece.bytes.windows(REQUEST.len()).any(|part| part == REQUEST);
    let asked = to_server.iter().find(asks)?.at;
    let mut frames = from_hub
        .iter()
        .filter(|piece| piece.to_client && piece.bytes.len() >= COMMAND_FRAME_BYTES && piece.at <= asked);
    match (frames.next(), frames.next()) {
        (Some(frame), None) => Some(asked - frame.at),
        _ => None,
    }
}

fn raw_flushes(directory: &Path) -> Result<Vec<Duration>> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut file = File::create(directory.path().join("raw"))?;
    let mut times = Vec::new();
    for _ in 0..RAW_SAMPLES {
        let begin = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

async fn tls_round_trips() -> Result<Vec<Duration>> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone())?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        let mut message = [0; MESSAGE_BYTES];
        for _ in 0..RAW_SAMPLES {
            stream.read_exact(&mut message).await?;
            stream.write_all(&message).await?;
            stream.flush().await?;
        }
        anyhow::Ok(())
    });
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost")?, stream).await?;
    let (mut times, mut message) = (Vec::new(), [7; MESSAGE_BYTES]);
    for _ in 0..RAW_SAMPLES {
        let begin = Instant::now();
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut message).await?;
        times.push(begin.elapsed());
    }
    echo.await??;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(begin: Instant, milliseconds: u64, to_client: bool, bytes: &[u8]) -> Passed {
        Passed { at: begin + Duration::from_millis(milliseconds), to_client, bytes: bytes.to_vec() }
    }

    #[test]
    fn only_an_unmistakable_command_is_a_sample() {
        let begin = Instant::now();
        let long = [0; 500];
        let request = piece(begin, 9, false, b"STP/00/99/<RequestName>OnlineDoor.Open</RequestName>");
        let probe = piece(begin, 1, false, b"STP/00/50/<RequestName>GetInfo</RequestName>");
        let server = [probe.clone(), request];
        let frame = piece(begin, 5, true, &long);
        let acknowledgement = piece(begin, 7, true, &[0; 40]);
        let upwards = piece(begin, 6, false, &long);
        let later = piece(begin, 12, true, &long);
        let hub = [frame.clone(), upwards, acknowledgement, later];
        assert_eq!(between(&hub, &server), Some(Duration::from_millis(4)));
        let second = piece(begin, 8, true, &long);
        assert_eq!(between(&[frame.clone(), second], &server), None, "two frames: which one was it?");
        assert_eq!(between(&[frame], &[probe]), None, "no request");
        assert_eq!(between(&[], &server), None, "no frame");
    }
}
