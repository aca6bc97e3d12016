//! Which holders are keys of the front desk. An index in memory over the holders of the state, never a truth of its own.

use std::collections::BTreeMap;

use lockbridge_protocol::proto::tunnel::DeskOrder;

/// Lock system and holder.
pub(in crate::dispatch) type StayKey = (String, String);

/// Orders by the holder that each made.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Stays(BTreeMap<StayKey, DeskOrder>);

impl Stays {
    pub(in crate::dispatch) fn put(&mut self, lock_system: &str, user_id: &str, order: DeskOrder) {
        self.0.insert((lock_system.to_owned(), user_id.to_owned()), order);
    }

    pub(in crate::dispatch) fn forget(&mut self, lock_system: &str, user_id: &str) {
        self.0.remove(&(lock_system.to_owned(), user_id.to_owned()));
    }

    pub(in crate::dispatch) fn get(&self, lock_system: &str, user_id: &str) -> Option<&DeskOrder> {
        self.0.get(&(lock_system.to_owned(), user_id.to_owned()))
    }

    /// Those of a lock system.
    pub(super) fn at<'all>(&'all self, lock_system: &'all str) -> impl Iterator<Item = (&'all str, &'all DeskOrder)> {
        self.0
            .range((lock_system.to_owned(), String::new())..)
            .take_while(move |((at, _), _)| at == lock_system)
            .map(|((_, user_id), order)| (user_id.as_str(), order))
    }

    /// Keys of a room: orders whose first entrance it is.
    pub(super) fn of_room(&self, lock_system: &str, entrance: &str) -> Vec<(String, DeskOrder)> {
        let of_room = |order: &DeskOrder| order.entrance_external_ids.first().is_some_and(|first| first == entrance);
        let found = self.at(lock_system).filter(|(_, order)| of_room(order));
        found.map(|(user_id, order)| (user_id.to_owned(), order.clone())).collect()
    }

    /// Keys of a reservation.
    pub(super) fn of_reservation(&self, lock_system: &str, reservation: &str) -> Vec<(String, DeskOrder)> {
        let found = self.at(lock_system).filter(|(_, order)| order.reservation == reservation);
        found.map(|(user_id, order)| (user_id.to_owned(), order.clone())).collect()
    }
}
