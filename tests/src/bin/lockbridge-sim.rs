//! `lockbridge-sim`: simulated lock systems as processes of their own.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use lockbridge_tests::simulator::fias::command::{self, Fias};
use lockbridge_tests::simulator::salto_pms::options::SaltoPms;
use lockbridge_tests::simulator::server::stream::{Stream, Target};
use lockbridge_tests::simulator::server::{self, Addresses, HttpLogin, Settings, Simulator};
use lockbridge_tests::simulator::ship::Rules;
use lockbridge_tests::simulator::site::seed;
use lockbridge_tests::simulator::site::store::{Fsync, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Simulated lock systems.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    system: System,
}

#[derive(Subcommand)]
enum System {
    /// A SALTO Space server with its encoders, cards and doors.
    ///
    /// Prints one JSON line with the bound addresses when it is ready. Runs until SIGTERM, Ctrl-C or POST /shutdown.
    #[command(after_long_help = CONTROL_HELP)]
    SaltoSpace(Box<SaltoSpace>),
    /// One end of FIAS: the property software of a hotel, or a vendor's key system.
    ///
    /// Prints one JSON line with address or port when it is ready. Runs until SIGTERM, Ctrl-C or POST /shutdown.
    #[command(after_long_help = command::CONTROL_HELP)]
    Fias(Box<Fias>),
    SaltoPms(Box<SaltoPms>),
}

const CONTROL_HELP: &str = r#"Control interface (HTTP and JSON on the control port):
  GET  /state   /effects?limit=&since=   /audit?limit=&since=   /users   /users/ID   /doors   /cards   /cards/SERIAL   /faults
  POST /cards               {"serial"?, "format"?: "compatible"|"wrong"}
  POST /encoders            {"encoder"}
  POST /encoders/put        {"encoder", "serial"?, "format"?}
  POST /encoders/lift       {"encoder"}
  POST /encoders/auto-feed  {"encoder", "on": true|false}
  POST /encoders/plug       {"encoder", "plugged": true|false}
  POST /doors/present       {"serial", "door": ID or name}
  POST /doors/collect       {"door"?}
  POST /doors/set           {"door", "communication"?, "battery"?, "tamper"?, "clock_offset_seconds"?}
  POST /faults              {"kind", "request"?, "encoder"?, "times"?: 1}; kinds:
                            delay (+"milliseconds"), refuse (+"code"), garbage, half_answer, close_before_answer,
                            perform_then_close, never_answer (+"perform"?), encoder_busy, encoder_unplugged, no_card,
                            wrong_blank, card_lifted
  POST /faults/clear
  POST /restart             {"away_milliseconds"}
  POST /licence             {"ship"?, "mobile"?, "users"?}
  POST /denylist            {"capacity"}
  POST /clock               {"advance_seconds"}
  POST /stream              {"to": "udp:ADDRESS:PORT"|"tcp:ADDRESS:PORT"|null}
  POST /seed                {"users"?, "doors"?, "online"?, "prefix"?}
  POST /shutdown

  curl -s localhost:PORT/encoders/put -H 'content-type: application/json' -d '{"encoder":"Front desk 1"}'

The effect log is DIR/effects.jsonl: one JSON object a line, "number" rising from 1 without gaps."#;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SeedSite {
    /// Twelve doors, three access levels, two encoders, three users.
    Demo,
    /// Nothing.
    Empty,
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
struct SaltoSpace {
    /// Directory of the site's database and effect log; made if missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address of SHIP over TCP; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    stp: SocketAddr,
    /// Address of SHIP over HTTP.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Address of SHIP over HTTPS; the self-made certificate is DIR/https-certificate.pem.
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Address of the control interface; must be a loopback address.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    control: SocketAddr,
    /// What an empty directory begins with.
    #[arg(long, default_value = "demo", value_name = "SITE")]
    seed_site: SeedSite,
    /// Time zone of the server.
    #[arg(long, default_value = "Europe/Madrid", value_name = "ZONE")]
    zone: String,
    /// File that holds the login HTTP clients need: `basic USER:PASSWORD` or `custom KEY`.
    #[arg(long, value_name = "FILE")]
    http_login_file: Option<PathBuf>,
    /// Client that may connect to SHIP; give it several times for several. Others are cut off.
    #[arg(long = "allow", value_name = "IP")]
    allow: Vec<IpAddr>,
    /// Skip unknown elements in requests instead of refusing them (501).
    #[arg(long)]
    lenient: bool,
    /// Offer requests whose names are not public: SaltoDBGroupList.Read, SaltoDBUser.CancelKey.
    #[arg(long)]
    non_standard: bool,
    /// Let online readers update cards that are due, as wall readers do.
    #[arg(long)]
    updating_readers: bool,
    /// How long an encoder waits for a card.
    #[arg(long, default_value_t = 20_000, value_name = "MILLISECONDS")]
    card_wait: u64,
    /// How long writing a card takes.
    #[arg(long, default_value_t = 50, value_name = "MILLISECONDS")]
    write_time: u64,
    /// Doors that fit on a card.
    #[arg(long, default_value_t = 96, value_name = "DOORS")]
    card_capacity: usize,
    /// What is synced to disk before an answer; all changes are written before.
    #[arg(long, default_value = "effects", value_name = "WHAT")]
    fsync: Fsync,
    /// Where the event stream goes: udp:ADDRESS:PORT or tcp:ADDRESS:PORT.
    #[arg(long, value_name = "TARGET")]
    events: Option<Target>,
    /// Put CR LF after each array of the event stream.
    #[arg(long)]
    events_line_ends: bool,
    /// End when standard input is closed, so that no process stays behind when the parent is gone.
    #[arg(long)]
    exit_with_stdin: bool,
    /// Log every refusal.
    #[arg(long)]
    verbose: bool,
}

fn main() -> anyhow::Result<()> {
    let system = Arguments::parse().system;
    let verbose = match &system {
        System::SaltoSpace(options) => options.verbose,
        System::Fias(options) => options.verbose,
        System::SaltoPms(options) => options.verbose,
    };
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    match system {
        System::SaltoSpace(options) => runtime.block_on(run(*options)),
        System::Fias(options) => runtime.block_on(run_fias(*options)),
        System::SaltoPms(options) => runtime.block_on(run_pms(&options)),
    }
}

async fn run_fias(options: Fias) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let with_stdin = options.exit_with_stdin;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut served = std::pin::pin!(command::run(options, stop.clone()));
    tokio::select! {
        ended = &mut served => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed(), if with_stdin => {}
    }
    stop.cancel();
    served.await
}

async fn run_pms(options: &SaltoPms) -> anyhow::Result<()> {
    let (simulator, bound) = options.open().await?;
    announce("salto-pms", &bound.addresses, options.data())?;
    let server = tokio::spawn(bound.run(Arc::clone(&simulator)));
    until_the_end(server, &simulator.shutdown, options.exit_with_stdin).await
}

async fn run(options: SaltoSpace) -> anyhow::Result<()> {
    if !options.control.ip().is_loopback() {
        bail!("--control {} is not a loopback address; the control interface has no login", options.control);
    }
    let zone = TimeZone::get(&options.zone).with_context(|| format!("--zone {:?} is not known", options.zone))?;
    let http_login = options.http_login_file.as_ref().map_or(Ok(HttpLogin::Nobody), |path| read_login(path))?;
    let (mut store, mut site) = Store::open(&options.data, zone, options.fsync)
        .with_context(|| format!("reading the site in {}", options.data.display()))?;
    if options.seed_site == SeedSite::Demo && site.doors.is_empty() {
        seed::demo(&mut site);
        store.commit(&mut site).with_context(|| format!("writing the site to {}", options.data.display()))?;
    }
    let settings = Settings {
        rules: Rules {
            strict: !options.lenient,
            non_standard: options.non_standard,
            card_capacity: options.card_capacity,
        },
        updating_readers: options.updating_readers,
        card_wait: Duration::from_millis(options.card_wait),
        write_time: Duration::from_millis(options.write_time),
        allow: options.allow,
        http_login,
    };
    let addresses = Addresses { stp: options.stp, http: options.http, https: options.https, control: options.control };
    let stream = Stream::new(options.events, options.events_line_ends);
    let simulator = Arc::new(Simulator::new(site, store, settings, stream));
    let bound = server::bind(addresses, &options.data).await?;
    announce("salto-space", &bound.addresses, &options.data)?;
    let server = tokio::spawn(bound.run(Arc::clone(&simulator)));
    until_the_end(server, &simulator.shutdown, options.exit_with_stdin).await
}

/// Waits for the end of the server, a signal or the end of standard input, and lets the server settle.
async fn until_the_end<E: std::error::Error + Send + Sync + 'static>(
    mut server: JoinHandle<Result<(), E>>,
    shutdown: &CancellationToken,
    exit_with_stdin: bool,
) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ended = &mut server => return Ok(ended??),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed(), if exit_with_stdin => {}
        () = shutdown.cancelled() => {}
    }
    shutdown.cancel();
    Ok(server.await??)
}

fn announce(system: &str, addresses: &impl serde::Serialize, data: &Path) -> anyhow::Result<()> {
    let mut line = serde_json::to_value(addresses)?;
    if let Some(map) = line.as_object_mut() {
        map.insert("ready".to_owned(), true.into());
        map.insert("system".to_owned(), system.into());
        map.insert("data".to_owned(), data.to_string_lossy().into());
        map.insert("process".to_owned(), std::process::id().into());
    }
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

async fn stdin_closed() {
    let (closed, ended) = tokio::sync::oneshot::channel();
    // A thread, because a read of standard input cannot be cancelled; it ends with the process.
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        closed.send(read.is_ok())
    });
    if !matches!(ended.await, Ok(true)) {
        tracing::warn!("reading standard input failed; taken as closed");
    }
}

fn read_login(path: &Path) -> anyhow::Result<HttpLogin> {
    let text = fs::read_to_string(path).with_context(|| format!("reading --http-login-file {}", path.display()))?;
    match text.trim().split_once(' ') {
        Some(("basic", login)) if login.contains(':') => {
            Ok(HttpLogin::Basic(data_encoding::BASE64.encode(login.trim().as_bytes())))
        }
        Some(("custom", key)) => Ok(HttpLogin::Custom(key.trim().to_owned())),
        _ => bail!("{} must hold `basic USER:PASSWORD` or `custom KEY`", path.display()),
    }
}
