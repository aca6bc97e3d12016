//! `lockbridge-sim fias`: arguments, and the life of the process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use lockbridge_protocol::line::Checksum;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::super::line::noise::NoiseSettings;
use super::super::line::{Frames, Handle, Line, Outside};
use super::control;
use super::framing::Form;
use super::key_system::{self, KeySystem};
use super::link_key::LinkKey;
use super::pms::{Pms, Profile};
use super::record::CodePage;

/// Which end is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The property software of a hotel.
    Pms,
    /// A vendor's key system with encoders, cards and doors.
    KeySystem,
}

/// What happens to a second connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Second {
    /// It takes the place of the first.
    Replace,
    /// It is cut off.
    Refuse,
}

/// Arguments of `lockbridge-sim fias`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Fias {
    /// Which end is played.
    #[arg(long, value_enum)]
    role: Role,
    /// Listen on this address; port 0 lets the system choose. The usual way of a PMS.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["dial", "pty"])]
    listen: Option<SocketAddr>,
    /// Connect to this address, again and again.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "pty")]
    dial: Option<SocketAddr>,
    /// Offer a serial port under this path.
    #[arg(long, value_name = "PATH")]
    pty: Option<PathBuf>,
    /// Speed of that port; without it, it is as fast as the machine.
    #[arg(long, requires = "pty")]
    baud: Option<u32>,
    /// Acknowledge records, as on a serial line. Always so on one.
    #[arg(long)]
    acknowledged: bool,
    /// Leave the checksum out where records are acknowledged.
    #[arg(long)]
    no_checksum: bool,
    /// How long an acknowledgement is waited for.
    #[arg(long, default_value_t = 3_000, value_name = "MILLISECONDS")]
    reply_timeout: u64,
    /// Bytes above ASCII.
    #[arg(long, value_enum, default_value = "utf8")]
    code_page: CodePage,
    /// What happens to a second connection.
    #[arg(long, value_enum, default_value = "replace")]
    second: Second,
    /// Told as the time a PMS waits for an answer, in seconds.
    #[arg(long, default_value_t = 60)]
    key_timeout: u16,
    /// The key of an authenticated link: a PMS believes nobody without it, a key system proves that it has it.
    #[arg(long, value_name = "PATH")]
    link_key_file: Option<PathBuf>,
    /// Where a key system keeps its count of effects; made if missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Rooms that a key system knows.
    #[arg(long, value_delimiter = ',', default_value = "101,102,103")]
    rooms: Vec<String>,
    /// Encoders that a key system has.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    encoders: Vec<String>,
    /// How long an encoder waits for a card.
    #[arg(long, default_value_t = 20_000, value_name = "MILLISECONDS")]
    card_wait: u64,
    /// How long writing a card takes.
    #[arg(long, default_value_t = 50, value_name = "MILLISECONDS")]
    write_time: u64,
    /// The key system knows keys by their reservation: KM changes them, KD with G# ends them and no others.
    #[arg(long)]
    on_line: bool,
    /// Lose, turn over and double bytes at this rate, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// Decides which bytes.
    #[arg(long, default_value_t = 1)]
    noise_seed: u64,
    /// Address of the control interface; must be a loopback address.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    control: SocketAddr,
    /// End when standard input is closed.
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// Log more.
    #[arg(long)]
    pub verbose: bool,
}

/// Shown behind the help of `lockbridge-sim fias`.
pub const CONTROL_HELP: &str = r#"Control interface of the PMS (HTTP and JSON on the control port):
  GET  /state                  link, fields that the key system wants, counts
  POST /requests               {"record": "KR", "fields": {"RN": "0101", ...}, "force"?: true}: sends it; its number
  GET  /requests/N?wait_ms=    the request and its answers, as soon as there is one
  POST /requests/N/repeat      sends the same bytes again
  GET  /answers?since=         every answer, also those that answer nothing
  POST /panel                  {"no_alive"?, "cut_on_answer"?, "manners"?: "normal"|"silent"|"refuse"}
  POST /link_key {"key"}       enters the key of the link again: the port that a wrong proof closed opens
  POST /raw {"hex"}   /noise {rates}   /plug {"plugged"}   /end   /cut   /shutdown

Control interface of the key system:
  GET  /state   /effects   /altered: frames that noise altered in a way that the checksum does not show
  POST /encoders/put  {"encoder", "serial"?}      /encoders/set {"encoder", "lift"?, "plugged"?, "auto_feed"?}
  POST /doors/present {"serial", "room"}
  POST /faults        {"fault"}: lose_answer, {"late_answer": MILLISECONDS}, answer_first, break_in_answer, restart_link,
                      wrong_workstation, padded_encoder, two_in_one, trickle, out_of_cards
  POST /noise {rates}   /plug {"plugged"}   /shutdown

  curl -s localhost:PORT/requests -H 'content-type: application/json' \
    -d '{"record":"KR","fields":{"KC":"1","WS":"FO1","RN":"101","KT":"N","GD":"270101"}}'"#;

/// Runs until the end of the process is asked for; `stop` ends it from outside.
pub async fn run(options: Fias, stop: CancellationToken) -> Result<()> {
    if !options.control.ip().is_loopback() {
        bail!("--control {} is not a loopback address; the control interface has no login", options.control);
    }
    let outside = match (options.listen, options.dial, options.pty.clone()) {
        (_, Some(address), _) => Outside::Dial(address),
        (_, _, Some(path)) => Outside::Pty { path, baud: options.baud },
        (address, None, None) => Outside::Listen(address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))),
    };
    let noise = NoiseSettings::even(options.noise_seed, options.noise);
    if noise.fault().is_some() {
        bail!("--noise {} does not lie between 0 and 1", options.noise);
    }
    let line = Line::open(outside, noise).await.context("opening the line")?;
    let acknowledged = options.acknowledged || options.pty.is_some();
    let reply_timeout = Duration::from_millis(options.reply_timeout);
    let form = Form { acknowledged, checksum: acknowledged && !options.no_checksum, reply_timeout };
    let checksum = if form.checksum { Checksum::Checked } else { Checksum::Absent };
    line.handle().watch(Frames { checksum, silence: form.silence() });
    let listener = TcpListener::bind(options.control).await.context("binding the control interface")?;
    let handle = line.handle();
    let link_key = options.link_key_file.as_deref().map(link_key).transpose()?;
    match options.role {
        Role::Pms => {
            let profile = Profile {
                form,
                page: options.code_page,
                replaces: options.second == Second::Replace,
                key_timeout: options.key_timeout,
                listens: handle.address().is_some(),
                is_port: options.pty.is_some(),
                link_key,
            };
            let (pms, serve) = Pms::new(profile, line);
            announce("pms", &handle, listener.local_addr()?)?;
            let shutdown = pms.shutdown.clone();
            let control = control::serve_pms(listener, pms);
            finish(shutdown, stop, serve, control).await
        }
        Role::KeySystem => {
            let data = options.data.context("--data DIR is needed: a key system keeps its count of effects there")?;
            let profile = key_system::Profile {
                form,
                page: options.code_page,
                rooms: options.rooms,
                encoders: options.encoders,
                card_wait: Duration::from_millis(options.card_wait),
                write_time: Duration::from_millis(options.write_time),
                is_port: options.pty.is_some(),
                on_line: options.on_line,
                link_key,
            };
            let opened = KeySystem::open(profile, line, &data);
            let (system, serve) = opened.with_context(|| format!("reading the effects in {}", data.display()))?;
            announce("key-system", &handle, listener.local_addr()?)?;
            let shutdown = system.shutdown.clone();
            let control = control::serve_key_system(listener, system);
            finish(shutdown, stop, serve, control).await
        }
    }
}

fn link_key(path: &Path) -> Result<LinkKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the link key in {}", path.display()))?;
    LinkKey::read(&text).with_context(|| format!("{} holds no key of a link", path.display()))
}

async fn finish(
    shutdown: CancellationToken,
    stop: CancellationToken,
    serve: impl Future<Output = std::io::Result<()>>,
    control: impl Future<Output = std::io::Result<()>>,
) -> Result<()> {
    let stopped = async {
        stop.cancelled().await;
        shutdown.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serve => Ok(served?),
        told = control => Ok(told?),
        () = stopped => Ok(()),
    }
}

fn announce(role: &str, handle: &Handle, control: SocketAddr) -> Result<()> {
    let line = json!({
        "ready": true, "system": "fias", "role": role, "process": std::process::id(), "control": control.to_string(),
        "address": handle.address().map(|address| address.to_string()),
        "port": handle.path().map(|path| path.display().to_string()),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
