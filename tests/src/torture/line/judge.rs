//! Whose request wrote which card.

use std::collections::BTreeMap;

use anyhow::Result;

use super::clerk::{Fate, Tally};
use super::figures::LineSums;
use super::house::{Content, House};

/// More than any run writes.
const ALL: usize = 1_000_000;

/// A card, and the request that it comes from.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) content: Content,
    /// The content on the card is another one.
    pub(super) is_altered: bool,
}

/// The newest cards, each with the content that was asked for. A request that noise altered unseen by the checksum is known by
/// all that arrived, the mark included, which no two requests share.
pub(super) async fn cards(house: &House, limit: usize) -> Result<Vec<Card>> {
    let altered = house.altered().await?;
    let cards = house.cards(limit).await?;
    Ok(cards
        .into_iter()
        .map(|card| {
            let from =
                altered.iter().filter(|frame| frame.to_machine).find(|frame| frame.arrived.as_ref() == Some(&card));
            match from.and_then(|frame| frame.meant.clone()) {
                Some(meant) => Card { content: meant.content, is_altered: true },
                None => Card { content: card.content, is_altered: false },
            }
        })
        .collect())
}

pub(super) async fn judge(house: &House, tallies: Vec<Tally>) -> Result<LineSums> {
    let mut sums = LineSums::default();
    let mut written: BTreeMap<Content, u64> = BTreeMap::new();
    for card in cards(house, ALL).await? {
        *written.entry(card.content).or_default() += 1;
        sums.cards += 1;
        sums.altered_cards += u64::from(card.is_altered);
    }
    for tally in tallies {
        sums.doubts_listed += tally.doubts_listed;
        sums.doubts_written += tally.doubts_written;
        for (reason, count) in tally.reasons {
            sums.refused += count;
            *sums.reasons.entry(reason).or_default() += count;
        }
        for (content, fate) in tally.fates {
            let cards = written.remove(&content).unwrap_or(0);
            match fate {
                Fate::Written => {
                    sums.made += 1;
                    sums.lost += u64::from(cards == 0);
                }
                Fate::Doubt => sums.in_doubt += 1,
                Fate::GivenUp => {
                    sums.given_up += 1;
                    sums.hidden += u64::from(cards > 0);
                }
            }
            sums.doubled += u64::from(cards > 1);
        }
    }
    sums.unasked = written.values().sum();
    for frame in house.altered().await? {
        *(if frame.to_machine { &mut sums.altered_requests } else { &mut sums.altered_answers }) += 1;
    }
    let status = house.site.status().await?;
    for line in status["lines"].as_array().into_iter().flatten() {
        for (name, value) in line.as_object().into_iter().flatten() {
            if let Some(count) = value.as_u64() {
                *sums.line.entry(name.clone()).or_default() += count;
            }
        }
    }
    Ok(sums)
}
