//! The key system's connections: how it introduces itself, and how answers leave.

use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::super::super::line::{Connection, Line};
use super::super::framing::Framing;
use super::super::record::Record;
use super::{KeySystem, Say};

/// For the first `LS` of the other side.
const START: Duration = Duration::from_secs(3);

fn moment(id: &str) -> Record {
    let now = Zoned::now();
    Record::new(id).with("DA", now.strftime("%y%m%d").to_string()).with("TI", now.strftime("%H%M%S").to_string())
}

async fn introduce(system: &KeySystem, framing: &mut Framing) -> std::io::Result<()> {
    let page = system.profile.page;
    let mut description = moment("LD").with("V#", "2.0").with("IF", "DL");
    if let Some(key) = &system.profile.link_key {
        let proof = key.prove(&system.state().start);
        description = description.with("RT", "1").with("CG", proof);
    }
    framing.send(&description.print(page)).await?;
    for (record, fields) in [
        ("KR", "KCKTRNWSG#GAGDDTKOSIDATI"),
        ("KD", "KCRNWSG#DATI"),
        ("KZ", "KCRNWSG#GDDTASCTDATI"),
        ("KA", "ASKCWSG#CT$2DATI"),
    ] {
        framing.send(&Record::new("LR").with("RI", record).with("FL", fields).print(page)).await?;
    }
    if system.profile.on_line {
        let fields = "G#KCRNROWSDTGAGDDATI";
        framing.send(&Record::new("LR").with("RI", "KM").with("FL", fields).print(page)).await?;
    }
    framing.send(&moment("LA").print(page)).await
}

pub(super) async fn serve(
    system: Arc<KeySystem>,
    mut line: Line,
    mut said: mpsc::Receiver<Say>,
) -> std::io::Result<()> {
    loop {
        let connection = tokio::select! {
            connection = line.next() => connection?,
            Some(_) = said.recv() => continue, // nobody is there
            () = system.shutdown.cancelled() => return Ok(()),
        };
        system.state().connections += 1;
        let ended = talk(&system, connection, &mut said).await;
        system.state().alive = false;
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
        if system.shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

async fn talk(system: &Arc<KeySystem>, connection: Connection, said: &mut mpsc::Receiver<Say>) -> std::io::Result<()> {
    // What is left of the connection ends with this function, and with it what carries the bytes.
    let mut framing = Framing::new(connection.stream, system.profile.form);
    let page = system.profile.page;
    let mut start_at = Instant::now() + START;
    loop {
        system.state().counts = framing.counts;
        let alive = system.state().alive;
        tokio::select! {
            () = system.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep_until(start_at), if !alive => {
                start_at = Instant::now() + START;
                framing.send(&moment("LS").print(page)).await?;
            }
            Some(what) = said.recv() => match what {
                Say::Record(record) => framing.send(&record.print(page)).await?,
                Say::Half(record) => {
                    let frame = framing.frame(&record.print(page));
                    framing.raw(&frame[..frame.len() / 2]).await?;
                    return Ok(());
                }
                Say::Glued(record) => {
                    let both = [framing.frame(&record.print(page)), framing.frame(&moment("LA").print(page))].concat();
                    framing.raw(&both).await?;
                }
                Say::Trickle(record) => {
                    for piece in framing.frame(&record.print(page)).chunks(3) {
                        framing.raw(piece).await?;
                        sleep(Duration::from_millis(2)).await;
                    }
                }
                Say::Introduce => introduce(system, &mut framing).await?,
            },
            body = framing.next() => {
                let Some(record) = Record::read(&body?, page) else { continue };
                match record.id.as_str() {
                    "LS" => {
                        {
                            let mut state = system.state();
                            state.alive = false;
                            state.start = format!("{}{}", record.text("DA"), record.text("TI"));
                        }
                        start_at = Instant::now() + START.saturating_mul(10);
                        introduce(system, &mut framing).await?;
                    }
                    "LA" if !alive => {
                        let mut state = system.state();
                        state.alive = true;
                        state.times_alive += 1;
                    }
                    "LE" => {
                        framing.send(&moment("LE").print(page)).await?;
                        if !system.profile.is_port {
                            return Ok(());
                        }
                        // The line stays, and the link may begin anew on it.
                        system.state().alive = false;
                        start_at = Instant::now() + START;
                    }
                    "KR" | "KD" | "KM" | "KZ" if alive => {
                        tokio::spawn(Arc::clone(system).asked(record));
                    }
                    _ => {}
                }
            }
        }
    }
}
