//! The property software's connections: how the link comes up, what is taken from it, and when nobody is let in.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::super::line::{Connection, Line};
use super::super::framing::Framing;
use super::super::record::{Record, names};
use super::{Order, Pms};

/// Between two `LS` while the link does not come up.
const START_INTERVAL: Duration = Duration::from_secs(2);

/// How a connection ended.
enum End {
    Lost,
    Replaced(Connection),
    Shutdown,
}

pub(super) async fn serve(pms: Arc<Pms>, mut line: Line, mut orders: mpsc::Receiver<Order>) -> std::io::Result<()> {
    loop {
        if pms.state().closed.is_some() {
            line.shut();
            tokio::select! {
                () = pms.key_entered() => line.open_again().await?,
                () = pms.shutdown.cancelled() => return Ok(()),
            }
        }
        let mut connection = tokio::select! {
            connection = line.next() => connection?,
            Some(_) = orders.recv() => continue, // nobody is there
            () = pms.shutdown.cancelled() => return Ok(()),
        };
        loop {
            pms.change(|state| {
                state.connections += 1;
                state.peer = Some(connection.peer.clone());
                state.started = false;
                state.description = None;
                state.wanted.clear();
            });
            let end = Box::pin(talk(&pms, connection, &mut line, &mut orders)).await;
            pms.change(|state| {
                state.alive = false;
                state.peer = None;
            });
            match end {
                End::Replaced(next) => connection = next,
                End::Lost => break,
                End::Shutdown => return Ok(()),
            }
        }
        if pms.profile.is_port {
            // A port has one stream for ever; when that ends the process does.
            return Ok(());
        }
    }
}

async fn talk(pms: &Pms, connection: Connection, line: &mut Line, orders: &mut mpsc::Receiver<Order>) -> End {
    // What is left of the connection ends with this function, and with it what carries the bytes.
    let mut framing = Framing::new(connection.stream, pms.profile.form);
    let mut start_at = Instant::now();
    loop {
        framing.manners = pms.state().panel.manners;
        pms.state().counts = framing.counts;
        let alive = pms.state().alive;
        let sent = tokio::select! {
            () = pms.shutdown.cancelled() => return End::Shutdown,
            () = tokio::time::sleep_until(start_at), if !alive => {
                start_at = Instant::now() + START_INTERVAL;
                let start = pms.start();
                framing.send(&start.print(pms.profile.page)).await
            }
            Some(order) = orders.recv() => match order {
                Order::Send(body) => framing.send(&body).await,
                Order::Raw(bytes) => framing.raw(&bytes).await,
                Order::End => framing.send(&Pms::moment("LE").print(pms.profile.page)).await,
                Order::Cut => return End::Lost,
            },
            next = line.next(), if pms.profile.listens => match next {
                Ok(next) if pms.profile.replaces => return End::Replaced(next),
                Ok(_) => {
                    pms.change(|state| state.refused_connections += 1);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            record = framing.next() => match record {
                Ok(body) => match Record::read(&body, pms.profile.page) {
                    Some(record) => {
                        if record.id == "LE" {
                            start_at = Instant::now() + START_INTERVAL;
                        }
                        match take(pms, &mut framing, &record).await {
                            Ok(true) => Ok(()),
                            Ok(false) => return End::Lost,
                            Err(error) => Err(error),
                        }
                    }
                    None => Ok(()),
                },
                Err(error) => Err(error),
            },
        };
        if sent.is_err() {
            return End::Lost;
        }
    }
}

/// One record of the key system; `false`: the connection is over.
async fn take(pms: &Pms, framing: &mut Framing, record: &Record) -> std::io::Result<bool> {
    let page = pms.profile.page;
    match record.id.as_str() {
        "LS" if pms.state().alive => framing.send(&Pms::moment("LA").print(page)).await?,
        "LS" => {
            let start = pms.start();
            framing.send(&start.print(page)).await?;
        }
        "LD" if !pms.believes(record) => return Ok(false),
        "LD" => pms.change(|state| {
            state.alive = false;
            state.description = Some(record.to_string());
            state.wanted.clear();
        }),
        "LR" => pms.change(|state| {
            state.wanted.insert(record.text("RI").to_owned(), names(record.text("FL")));
        }),
        "LA" => {
            let (ready, asks) = {
                let state = pms.state();
                let complete = state.description.is_some() && !state.wanted.is_empty();
                let asks = state.description.as_ref().is_some_and(|text| text.contains("|RT"));
                (complete && !state.alive && !state.panel.no_alive, asks)
            };
            if ready {
                if asks {
                    let told = format!("60;{}", pms.profile.key_timeout);
                    framing.send(&Record::new("LC").with("A0", told).print(page)).await?;
                }
                framing.send(&Pms::moment("LA").print(page)).await?;
                pms.change(|state| {
                    state.alive = true;
                    state.times_alive += 1;
                });
            }
        }
        "LE" => {
            framing.send(&Pms::moment("LE").print(page)).await?;
            pms.change(|state| state.alive = false);
            return Ok(pms.profile.is_port);
        }
        "KA" | "KZ" if pms.state().alive => {
            if pms.state().panel.cut_on_answer {
                return Ok(false);
            }
            pms.heard(record);
        }
        _ => pms.change(|state| state.dropped += 1),
    }
    Ok(true)
}
