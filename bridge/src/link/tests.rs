use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::line::Medium;
use super::*;
use crate::config::TlsTrust;
use crate::net::test_support::TestCa;

const QUICK: Limits = Limits {
    open: Duration::from_secs(5),
    write: Duration::from_secs(2),
    silence: None,
    pause: Duration::ZERO,
    backoff: (Duration::from_millis(20), Duration::from_millis(100)),
};

fn duplex(room: usize, limits: Limits) -> (Line, DuplexStream, std::sync::Arc<Statistics>) {
    let (ours, theirs) = tokio::io::duplex(room);
    let statistics = Statistics::new("test");
    (Line::over(ours, "the other end", limits, statistics.clone()), theirs, statistics)
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_both_ways_and_are_counted() {
    let (mut line, mut peer, statistics) = duplex(64, QUICK);
    line.write(b"hello").await.expect("written");
    let mut came = [0; 5];
    peer.read_exact(&mut came).await.expect("read");
    assert_eq!(&came, b"hello");
    peer.write_all(b"you").await.expect("written");
    let mut buffer = [0; 16];
    assert_eq!(line.read(&mut buffer).await.expect("read"), 3);
    let status = statistics.status();
    assert_eq!((status.sent_bytes, status.received_bytes, status.open), (5, 3, true));
    drop(peer);
    let error = line.read(&mut buffer).await.expect_err("the end");
    assert!(matches!(error, LineError::Closed { .. }), "{error:?}");
    assert!(matches!(line.read(&mut buffer).await, Err(LineError::Ended { .. })));
    assert!(matches!(line.write(b"x").await, Err(LineError::Ended { .. })));
    drop(line);
    assert!(!statistics.status().open);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_takes_ends_in_time_and_tells_what_was_not_sent() {
    let (mut line, _peer, statistics) = duplex(4, QUICK);
    let before = Instant::now();
    let error = line.write(b"0123456789").await.expect_err("nobody reads");
    assert_eq!(before.elapsed(), QUICK.write);
    assert_eq!((error.unsent(), statistics.status().sent_bytes), (6, 4));
    let LineError::Write { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, LineError::WriteTimedOut { .. }), "{source:?}");
    assert!(matches!(line.write(b"x").await, Err(LineError::Ended { .. })), "its bytes would be read as the rest");
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_peer_that_is_gone_sends_nothing() {
    let (mut line, peer, _) = duplex(64, QUICK);
    drop(peer);
    let error = line.write(b"0123456789").await.expect_err("nobody is there");
    assert_eq!(error.unsent(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_in_the_middle_ends_the_line() {
    let (mut line, mut peer, _) = duplex(4, QUICK);
    let given_up = timeout(Duration::from_millis(10), line.write(b"0123456789")).await;
    given_up.expect_err("still writing");
    let mut half = [0; 4];
    peer.read_exact(&mut half).await.expect("half of it");
    assert!(matches!(line.write(b"next frame").await, Err(LineError::Ended { .. })));
    assert_eq!(line.write(b"x").await.expect_err("ended").unsent(), 0, "nothing is certain");
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_byte_and_not_from_the_call() {
    let limits = Limits { silence: Some(Duration::from_secs(10)), ..QUICK };
    let (mut line, mut peer, _) = duplex(64, limits);
    let mut buffer = [0; 16];
    let before = Instant::now();
    peer.write_all(b"x").await.expect("written");
    line.read(&mut buffer).await.expect("read");
    // Calls that are given up do not start the silence anew.
    for _ in 0..3 {
        timeout(Duration::from_secs(3), line.read(&mut buffer)).await.expect_err("nothing comes");
    }
    let error = line.read(&mut buffer).await.expect_err("silence");
    assert!(matches!(error, LineError::Silent { seconds: 10, .. }), "{error:?}");
    assert_eq!(before.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn frames_keep_their_distance_counted_from_when_they_left_the_port() {
    let limits = Limits { pause: Duration::from_millis(100), ..QUICK };
    let settings = SerialSettings { baud: 10_000, ..SerialSettings::new(PathBuf::from("/dev/null")) };
    let character = settings.character_time();
    assert_eq!(character, Duration::from_millis(1), "ten bits a character");
    let (ours, _theirs) = tokio::io::duplex(4096);
    let medium = Medium::Serial { character };
    let mut line = Line::new(Box::new(ours), "port".to_owned(), medium, limits, Statistics::new("test"));
    let before = Instant::now();
    line.write(&[b'x'; 100]).await.expect("written");
    assert_eq!(before.elapsed(), Duration::from_millis(100), "the pause holds before the first frame too");
    line.write(b"x").await.expect("written");
    assert_eq!(before.elapsed(), Duration::from_millis(300), "100 characters and the pause");
}

#[test]
fn settings_are_shown_as_people_write_them() {
    let settings = SerialSettings::new(PathBuf::from("/dev/ttyS0"));
    assert_eq!(settings.format(), "9600 8N1");
    let odd = SerialSettings {
        baud: 1100,
        data_bits: DataBits::Seven,
        parity: Parity::Even,
        stop_bits: StopBits::Two,
        ..settings
    };
    assert_eq!((odd.format().as_str(), odd.character_time()), ("1100 7E2", Duration::from_millis(10)));
}

fn opener(endpoint: Endpoint) -> (Opener, std::sync::Arc<Statistics>) {
    let statistics = Statistics::new("test");
    (Opener::new(endpoint, QUICK, statistics.clone()), statistics)
}

#[tokio::test]
async fn attempts_keep_a_growing_distance_until_something_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (mut opener, statistics) = opener(Endpoint::Dial { host: "127.0.0.1".to_owned(), port: address.port() });
    let before = Instant::now();
    for _ in 0..5 {
        let error = opener.open().await.expect_err("nobody listens");
        assert!(matches!(error, LineError::Refused { .. }), "{error:?}");
    }
    // 20 + 40 + 80 + 100 (the longest).
    assert!(before.elapsed() >= Duration::from_millis(240), "{:?}", before.elapsed());
    assert_eq!((statistics.status().failed_opens, statistics.status().reconnects), (5, 0));

    let listener = TcpListener::bind(address).await.expect("binds again");
    let mut line = opener.open().await.expect("opens");
    let (mut peer, _) = listener.accept().await.expect("accepts");
    peer.write_all(b"x").await.expect("written");
    line.read(&mut [0; 8]).await.expect("heard");
    drop((line, peer));
    opener.open().await.expect("after the long pause that was due");
    // The line before was good, so the pause is the first one again and not the sixth.
    let before = Instant::now();
    opener.open().await.expect("opens");
    assert!(before.elapsed() < Duration::from_millis(90), "{:?}", before.elapsed());
    assert_eq!(statistics.status().reconnects, 2);
}

#[tokio::test]
async fn a_listener_takes_who_is_on_the_list_and_cuts_off_everybody_else() {
    let endpoint = Endpoint::Listen {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        allow: vec![IpAddr::from([127, 0, 0, 3])],
    };
    let (mut opener, _) = opener(endpoint);
    let address = opener.listen().await.expect("listens").expect("an address");
    assert_eq!(opener.listen().await.expect("listens").expect("an address"), address, "it listens once");
    let from = |last: u8| async move {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("binds");
        socket.connect(address).await.expect("connects")
    };
    let mut stranger: TcpStream = from(2).await;
    let mut friend = from(3).await;
    let mut line = opener.open().await.expect("the friend");
    assert!(line.place().starts_with("127.0.0.3:"), "{}", line.place());
    assert_eq!(stranger.read(&mut [0; 8]).await.expect("an orderly end"), 0);
    friend.write_all(b"hello").await.expect("written");
    assert_eq!(line.read(&mut [0; 8]).await.expect("read"), 5);
}

#[tokio::test]
async fn an_address_of_another_machine_cannot_be_listened_on() {
    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let (mut opener, _) = opener(Endpoint::Listen { address, allow: Vec::new() });
    let error = opener.open().await.expect_err("not ours");
    assert!(matches!(error, LineError::Listen { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_goes_to_the_pinned_certificate_and_to_no_other() {
    let ca = TestCa::new("Example CA");
    let (chain, key) = ca.server(&["pms.example.com"]);
    let pin: [u8; 32] = digest(&SHA256, &chain[0]).as_ref().try_into().expect("32 bytes");
    let config = crate::net::test_support::server_config(&[&rustls::version::TLS13], (chain, key));
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let (address, _server) = crate::net::test_support::listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut frame = [0; 5];
            if stream.read_exact(&mut frame).await.is_ok() {
                stream.write_all(&frame).await.ok();
                stream.flush().await.ok();
            }
        }
    })
    .await;
    let endpoint =
        |pin| Endpoint::DialTls { host: "127.0.0.1".to_owned(), port: address.port(), trust: TlsTrust::Pin(pin) };
    let error = opener(endpoint([7; 32])).0.open().await.expect_err("another certificate");
    assert!(matches!(error, LineError::Tls { .. }), "{error:?}");
    let mut line = opener(endpoint(pin)).0.open().await.expect("the pinned one");
    line.write(b"frame").await.expect("written");
    assert_eq!(line.read(&mut [0; 16]).await.expect("read"), 5);
}

/// A pseudo terminal under a path of its own, as udev gives one to an adapter.
struct Port {
    folder: tempfile::TempDir,
    master: Option<File>,
}

impl Port {
    fn new() -> Self {
        let mut port = Self { folder: tempfile::tempdir().expect("a folder"), master: None };
        port.plug();
        port
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("encoder-1")
    }

    fn plug(&mut self) {
        let pair = nix::pty::openpty(None, None).expect("a pseudo terminal");
        symlink(nix::unistd::ttyname(&pair.slave).expect("its name"), self.path()).expect("linked");
        self.master = Some(File::from(pair.master));
    }

    fn unplug(&mut self) {
        std::fs::remove_file(self.path()).expect("unlinked");
        self.master = None;
    }

    fn opener(&self) -> Opener {
        opener(Endpoint::Serial(SerialSettings::new(self.path()))).0
    }
}

#[tokio::test]
async fn a_port_carries_every_byte_as_it_is() {
    let port = Port::new();
    let mut line = port.opener().open().await.expect("opens");
    let all: Vec<u8> = (0..=255).collect();
    let mut master = port.master.as_ref().expect("plugged");
    line.write(&all).await.expect("written");
    let mut came = vec![0; 256];
    master.read_exact(&mut came).expect("read");
    assert_eq!(came, all);
    master.write_all(&all).expect("written");
    let mut came = Vec::new();
    while came.len() < 256 {
        let mut buffer = [0; 100];
        let bytes = timeout(QUICK.open, line.read(&mut buffer)).await.expect("in time").expect("read");
        came.extend_from_slice(&buffer[..bytes]);
    }
    assert_eq!(came, all);
}

#[tokio::test]
async fn a_port_has_one_user() {
    let port = Port::new();
    let line = port.opener().open().await.expect("opens");
    let error = port.opener().open().await.expect_err("it is in use");
    assert!(matches!(error, LineError::Busy { .. }), "{error:?}");
    drop(line);
    port.opener().open().await.expect("free again");
}

#[tokio::test]
async fn what_is_no_port_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| Endpoint::Serial(SerialSettings::new(folder.path().join(name)));
    let error = opener(at("nothing")).0.open().await.expect_err("missing");
    assert!(matches!(error, LineError::Missing { .. }), "{error:?}");
    std::fs::write(folder.path().join("file"), "x").expect("written");
    let error = opener(at("file")).0.open().await.expect_err("a file");
    assert!(matches!(error, LineError::NotSerial { .. }), "{error:?}");
    let null = Endpoint::Serial(SerialSettings::new(PathBuf::from("/dev/null")));
    let error = opener(null).0.open().await.expect_err("a device without a line");
    assert!(matches!(error, LineError::Device { .. }), "{error:?}");
}

#[tokio::test]
async fn unplugging_ends_the_line_and_plugging_in_opens_it_at_once() {
    let mut port = Port::new();
    let statistics = Statistics::new("test");
    let limits = Limits { backoff: (Duration::from_secs(30), Duration::from_secs(30)), ..QUICK };
    let mut opener = Opener::new(Endpoint::Serial(SerialSettings::new(port.path())), limits, statistics.clone());
    let mut line = opener.open().await.expect("opens");
    port.unplug();
    let error = timeout(QUICK.open, line.read(&mut [0; 8])).await.expect("in time").expect_err("it is gone");
    assert!(matches!(error, LineError::Unplugged { .. }), "{error:?}");
    drop(line);
    let mut reopening = std::pin::pin!(opener.open());
    timeout(Duration::from_millis(1), &mut reopening).await.expect_err("it waits for the device");
    port.plug();
    let line = timeout(QUICK.open, reopening).await.expect("long before the pause is over");
    line.expect("opens");
    assert_eq!((statistics.status().reconnects, statistics.status().failed_opens), (1, 0));
}

#[tokio::test]
async fn a_write_to_an_unplugged_port_went_nowhere() {
    let mut port = Port::new();
    let mut line = port.opener().open().await.expect("opens");
    port.unplug();
    let error = line.write(b"0123456789").await.expect_err("it is gone");
    assert_eq!(error.unsent(), 10);
    let LineError::Write { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, LineError::Unplugged { .. }), "{source:?}");
    assert!(error.remedy().contains("Plug it in again"), "{}", error.remedy());
}
