//! What the cloud asks for during one run of the daemon, drawn from the seed.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::CommandState;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::time::sleep;

use super::authority::{issue, lane_of};
use super::daemon::{Daemon, pause};
use super::hub::{HubMark, Wish};
use super::live::What;
use super::system::{DOORS, ENCODERS, door};

/// Longest pause between two acts.
const PAUSE: Duration = Duration::from_millis(25);

/// Draws acts and carries them out.
#[derive(Debug)]
pub(crate) struct Load {
    random: StdRng,
    /// The next command's id; unique over the lineage.
    id: u128,
}

impl Load {
    /// The load of run `session` of a lineage.
    pub(crate) fn new(session: u64, random: StdRng) -> Self {
        Self { random, id: (0x4C42_u128 << 112) | (u128::from(session) << 32) }
    }

    /// Carries out `acts` acts, and leaves the daemon in the middle of whatever it does.
    pub(crate) async fn run(&mut self, daemon: &Daemon, acts: u32) -> anyhow::Result<()> {
        if self.random.random_range(0..10) > 0 {
            daemon.connect().await?;
        }
        for _ in 0..acts {
            self.act(daemon).await?;
            // Now and then everything comes to rest, lost answers included.
            let long = self.random.random_range(0..40) == 0;
            let most = if long { Duration::from_secs(90) } else { PAUSE };
            sleep(pause(&mut self.random, most)).await;
        }
        Ok(())
    }

    async fn act(&mut self, daemon: &Daemon) -> anyhow::Result<()> {
        let connected = daemon.live.is_connected();
        match self.random.random_range(0..100) {
            0..40 => {
                let holder = format!("{:016x}", self.id & u128::from(u64::MAX));
                self.give(daemon, &holder, |random| Wish::Grant(doors(random))).await
            }
            40..48 => match self.pick(daemon, |_| true) {
                Some(holder) => self.give(daemon, &holder, |random| Wish::Grant(doors(random))).await,
                None => Ok(()),
            },
            48..60 => match self.pick(daemon, |wishes| matches!(wishes.last(), Some(Wish::Grant(_)))) {
                Some(holder) => self.give(daemon, &holder, |_| Wish::Revoke).await,
                None => Ok(()),
            },
            60..84 if connected => {
                // One card a holder: so every card written belongs to one command.
                let fresh =
                    |wishes: &[Wish]| !wishes.contains(&Wish::Encode) && matches!(wishes.last(), Some(Wish::Grant(_)));
                match self.pick(daemon, fresh) {
                    Some(holder) => self.give(daemon, &holder, |_| Wish::Encode).await,
                    None => Ok(()),
                }
            }
            84..88 if connected => {
                let number = self.random.random_range(0..DOORS);
                self.give(daemon, "", |_| Wish::Open(door(number))).await
            }
            88..92 => {
                if connected {
                    daemon.disconnect().await
                } else {
                    daemon.connect().await
                }
            }
            92..95 if connected => daemon.resend().await,
            _ if connected => daemon.acknowledge_reports().await,
            _ => daemon.connect().await,
        }
    }

    /// A holder whose wishes so far are as wanted, the newest more often than others.
    fn pick(&mut self, daemon: &Daemon, wanted: impl Fn(&[Wish]) -> bool) -> Option<String> {
        let world = daemon.live.world();
        let hub = &world.hub;
        let candidates = hub.holders.iter().rev().filter(|(holder, ids)| {
            let known = ids.iter().filter_map(|id| hub.commands.get(id));
            let settled = known.clone().all(|known| known.end() != Some(CommandState::Failed));
            let wishes: Vec<Wish> = known.map(|known| known.issued.wish.clone()).collect();
            !holder.is_empty() && settled && wanted(&wishes)
        });
        let candidates: Vec<&String> = candidates.take(12).map(|(holder, _)| holder).collect();
        candidates.choose(&mut self.random).map(|holder| (*holder).clone())
    }

    async fn give(
        &mut self,
        daemon: &Daemon,
        holder: &str,
        wish: impl FnOnce(&mut StdRng) -> Wish,
    ) -> anyhow::Result<()> {
        let wish = wish(&mut self.random);
        let encoder = ENCODERS.choose(&mut self.random).copied().unwrap_or_default();
        let live = &daemon.live;
        let lane_sequence = live.world().hub.lanes.get(&lane_of(holder, &wish)).copied().unwrap_or(0) + 1;
        let issued = issue(self.id, holder, wish, encoder, lane_sequence, {
            use lockbridge::clock::Clock as _;
            live.clock.wall_ms()
        });
        self.id += 1;
        live.happen(What::Hub(HubMark::Signed(issued.into())));
        daemon.send_new().await
    }
}

fn doors(random: &mut StdRng) -> Vec<String> {
    let first = random.random_range(0..DOORS);
    let mut doors: Vec<String> = (first..first + random.random_range(1..4)).map(door).collect();
    doors.sort();
    doors.dedup();
    doors
}
