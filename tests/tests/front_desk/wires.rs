//! The wire itself: who may speak on it, what garbage does to it, and that silence on it is told.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lockbridge_tests::harness::FiasSimulator;
use lockbridge_tests::harness::guest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::reception::{DESK, connected_site, day, free_port, key, site, status};

#[tokio::test]
async fn strangers_and_second_connections_are_cut_off_and_garbage_makes_no_card() -> Result<()> {
    let port = free_port()?;
    let listen = format!("transport = \"listen\"\nlisten = \"127.0.0.1:{port}\"\nallow = [\"127.0.0.1\"]");
    let site = site(&listen, "300").await?;
    let folder = tempfile::tempdir()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--dial", &format!("127.0.0.1:{port}")]).await?;
    pms.alive(1).await?;

    let stranger = TcpSocket::new_v4()?;
    stranger.bind("127.0.0.2:0".parse()?)?;
    let mut stranger = stranger.connect(format!("127.0.0.1:{port}").parse()?).await?;
    assert!(ends(&mut stranger).await, "an address that is not allowed is cut off");
    let mut second = TcpStream::connect(("127.0.0.1", port)).await?;
    assert!(ends(&mut second).await, "a second connection is cut off");

    // A record without end, frames of noise, a request that came before its link, and one that lies about itself.
    for bytes in [vec![b'A'; 100_000], b"\x02\x02\x03\x03\x02KR\x03".to_vec(), b"\x02KR|WS|KC|RN|KTN|\x03".to_vec()] {
        let hex = data_encoding::HEXLOWER.encode(&[b"\x02".as_slice(), &bytes].concat());
        pms.control.post("/raw", json!({ "hex": hex })).await?;
    }
    let days = [day(0), day(2)];
    guest::put_blank(&site, DESK).await?;
    let answer = pms.ask("KR", &key("0101", "N", "1", &days)).await?;
    assert_eq!(status(&answer), "OK", "the desk goes on working: {answer}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

/// Whether the other side ends a connection without a word.
async fn ends(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut byte)).await;
    let _gone_already = stream.shutdown().await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_wire_that_nobody_answers_is_told_until_somebody_does() -> Result<()> {
    let port = free_port()?;
    let site = connected_site(&format!("host = \"127.0.0.1\"\nport = {port}"), "300").await?;
    let reason = site.wait_for_reason("front_desk", Duration::from_secs(60)).await?;
    assert_eq!(reason["scope"], "front_desk:reception", "{reason}");
    let folder = tempfile::tempdir()?;
    let listen = format!("127.0.0.1:{port}");
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--listen", &listen]).await?;
    pms.alive(1).await?;
    let well = |status: &Value| {
        status["reasons"].as_array().is_some_and(|all| all.iter().all(|reason| reason["code"] != "front_desk"))
    };
    site.wait_for_status("a front desk that is well", Duration::from_secs(30), well).await?;
    assert!(Path::new(&site.folder().join("bridge.log")).exists());
    Ok(())
}
