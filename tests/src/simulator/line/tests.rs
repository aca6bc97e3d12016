use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lockbridge::link;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::noise::{Noise, NoiseSettings, Rates};
use super::{Carried, Line, Outside};

const SOON: Duration = Duration::from_secs(10);

fn loopback() -> Outside {
    Outside::Listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn together(noise: &mut Noise, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out: Vec<u8> =
        pieces.iter().flat_map(|piece| noise.pass(piece).pieces).flat_map(|piece| piece.bytes).collect();
    out.extend(noise.release());
    out
}

#[test]
fn each_kind_of_noise_does_what_its_name_says() {
    let only = |rates: Rates| Noise::new(rates, 1);
    let none = Rates::default();
    assert_eq!(together(&mut only(none), &[b"abc", b"d"]), b"abcd");
    assert_eq!(together(&mut only(Rates { drop: 1.0, ..none }), &[b"abc"]), b"");
    assert_eq!(together(&mut only(Rates { duplicate: 1.0, ..none }), &[b"abc"]), b"aabbcc");
    let flipped = together(&mut only(Rates { flip: 1.0, ..none }), &[b"abc"]);
    let bits: Vec<u32> = flipped.iter().zip(b"abc").map(|(one, two)| (one ^ two).count_ones()).collect();
    assert_eq!(bits, [1, 1, 1]);
    let split = only(Rates { split: 1.0, ..none }).pass(b"abc");
    assert_eq!(split.pieces.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let delayed = only(Rates { delay: 1.0, delay_milliseconds: 7, ..none }).pass(b"ab");
    assert!(delayed.pieces.iter().all(|piece| piece.wait == Duration::from_millis(7)), "{delayed:?}");
    let mut glue = only(Rates { glue: 1.0, ..none });
    assert!(glue.pass(b"ab").pieces.is_empty() && glue.holds());
    glue.change(none, 1);
    assert_eq!(glue.pass(b"cd").pieces[0].bytes, b"abcd");
    assert_eq!(only(Rates { echo: 1.0, ..none }).pass(b"ab").echo, b"ab");
    assert_eq!(only(none).pass(b"ab").echo, b"");
}

#[test]
fn rates_are_kept_and_checked() {
    let mut noise = Noise::new(Rates { drop: 0.01, ..Rates::default() }, 7);
    let left = together(&mut noise, &[&vec![0; 100_000]]).len();
    assert!((98_500..99_500).contains(&left), "{left}");
    assert_eq!(NoiseSettings::even(1, 0.5).fault(), None);
    let wrong = Rates { glue: 1.5, ..Rates::default() };
    assert_eq!(NoiseSettings { to_client: wrong, ..NoiseSettings::default() }.fault(), Some("glue"));
}

proptest! {
    #[test]
    fn reading_in_other_pieces_changes_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in 0_usize..300,
        seed in any::<u64>(),
    ) {
        let rates = Rates { drop: 0.1, flip: 0.1, duplicate: 0.1, delay: 0.1, glue: 0.3, split: 0.3, ..Rates::default() };
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let whole = together(&mut Noise::new(rates, seed), &[&bytes]);
        prop_assert_eq!(whole, together(&mut Noise::new(rates, seed), &[first, second]));
    }
}

#[tokio::test]
async fn a_connection_carries_bytes_both_ways_and_a_cut_ends_it() {
    let mut line = Line::open(loopback(), NoiseSettings::default()).await.unwrap();
    let handle = line.handle();
    let mut client = TcpStream::connect(handle.address().unwrap()).await.unwrap();
    let mut machine = line.next().await.unwrap();
    let mut buffer = [0; 4];
    client.write_all(b"ping").await.unwrap();
    machine.stream.read_exact(&mut buffer).await.unwrap();
    machine.stream.write_all(&buffer).await.unwrap();
    client.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    assert_eq!(handle.carried(), Carried { to_machine: 4, to_client: 4 });
    handle.cut();
    assert_eq!(timeout(SOON, machine.stream.read(&mut buffer)).await.unwrap().unwrap(), 0);
    assert_eq!(timeout(SOON, client.read(&mut buffer)).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn noise_can_be_set_while_the_line_is_up() {
    let mut line = Line::open(loopback(), NoiseSettings::default()).await.unwrap();
    let handle = line.handle();
    let mut client = TcpStream::connect(handle.address().unwrap()).await.unwrap();
    let mut machine = line.next().await.unwrap();
    let echo = Rates { echo: 1.0, duplicate: 1.0, ..Rates::default() };
    handle.set_noise(NoiseSettings { to_machine: echo, ..NoiseSettings::default() });
    client.write_all(b"ab").await.unwrap();
    let (mut four, mut two) = ([0; 4], [0; 2]);
    timeout(SOON, machine.stream.read_exact(&mut four)).await.unwrap().unwrap();
    timeout(SOON, client.read_exact(&mut two)).await.unwrap().unwrap();
    assert_eq!((&four, &two), (b"aabb", b"ab"));
}

#[tokio::test]
async fn a_dialler_comes_to_whoever_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut line = Line::open(Outside::Dial(listener.local_addr().unwrap()), NoiseSettings::default()).await.unwrap();
    let (accepted, connected) = tokio::join!(listener.accept(), line.next());
    let mut machine = connected.unwrap();
    accepted.unwrap().0.write_all(b"x").await.unwrap();
    assert_eq!(machine.stream.read_u8().await.unwrap(), b'x');
}

/// The product's end of a port.
fn opener(path: PathBuf) -> link::Opener {
    let endpoint = link::Endpoint::Serial(link::SerialSettings::new(path));
    link::Opener::new(endpoint, link::Limits::default(), link::Statistics::new("test"))
}

async fn exchange(client: &mut link::Line, machine: &mut super::Connection) -> io::Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    client.write(&all).await.map_err(io::Error::other)?;
    let mut came = vec![0; 256];
    timeout(SOON, machine.stream.read_exact(&mut came)).await??;
    assert_eq!(came, all, "to the machine");
    machine.stream.write_all(&all).await?;
    came.clear();
    while came.len() < 256 {
        let mut buffer = [0; 300];
        let read = timeout(SOON, client.read(&mut buffer)).await?.map_err(io::Error::other)?;
        came.extend_from_slice(&buffer[..read]);
    }
    assert_eq!(came, all, "to the client");
    Ok(())
}

#[tokio::test]
async fn a_port_survives_closing_and_the_plug() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port");
    let outside = Outside::Pty { path: path.clone(), baud: None };
    let mut line = Line::open(outside, NoiseSettings::default()).await.unwrap();
    let handle = line.handle();
    let mut machine = line.next().await.unwrap();
    let mut opener = opener(path.clone());
    let mut client = opener.open().await.unwrap();
    exchange(&mut client, &mut machine).await.unwrap();
    drop(client);
    let mut client = opener.open().await.unwrap();
    exchange(&mut client, &mut machine).await.unwrap();

    handle.plug(false);
    let gone = timeout(SOON, client.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(gone, Err(link::LineError::Unplugged { .. })), "{gone:?}");
    drop(client);
    let missing = opener.open().await;
    assert!(matches!(missing, Err(link::LineError::Missing { .. })), "{missing:?}");
    // What is sent into an empty socket is lost.
    machine.stream.write_all(b"lost").await.unwrap();
    let back = Instant::now();
    handle.plug(true);
    let mut client = timeout(SOON, opener.open()).await.unwrap().unwrap();
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    exchange(&mut client, &mut machine).await.unwrap();
    drop((line, machine));
    let gone = timeout(SOON, client.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(gone, Err(link::LineError::Unplugged { .. })), "{gone:?}");
    assert!(!path.exists(), "the path goes with the port");
}

#[tokio::test]
async fn a_paced_port_takes_the_time_that_its_speed_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("port");
    let outside = Outside::Pty { path: path.clone(), baud: Some(9600) };
    let mut line = Line::open(outside, NoiseSettings::default()).await.unwrap();
    let mut machine = line.next().await.unwrap();
    let mut client = opener(path).open().await.unwrap();
    let begun = Instant::now();
    client.write(&[b'x'; 240]).await.unwrap();
    timeout(SOON, machine.stream.read_exact(&mut [0; 240])).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(249), "240 characters are 250 ms: {:?}", begun.elapsed());
}
