//! Short runs of the tortures in one process; the long ones are `lockbridge-torture world` and `corrupt`.

use lockbridge_tests::torture::corrupt::{self, corrupt};
use lockbridge_tests::torture::world::{Options, power};

#[test]
fn power_cuts_lose_nothing_double_nothing_and_leave_every_doubt_visible() {
    let figures = power(Options { cuts: 300, seed: 20_261_122, lying_disk: false }, |_| {}).expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.cuts >= 300 && figures.in_window > 0 && figures.cuts_in_recovery > 0, "\n{}", figures.table());
    assert!(figures.settled > 0 && figures.sets_kept > 0 && figures.sets_rebuilt > 0, "\n{}", figures.table());
}

#[test]
fn a_disk_that_only_promises_to_flush_is_found_out() {
    let figures = power(Options { cuts: 60, seed: 7, lying_disk: true }, |_| {}).expect("the run ends");
    assert!(!figures.lost.is_empty(), "\n{}", figures.table());
}

#[test]
fn damaged_state_folders_open_and_nothing_is_lost_without_a_word() {
    let figures = corrupt(corrupt::Options { count: 400, seed: 20_261_122 }, |_| {}).expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.corruptions == 400 && figures.reported > 0 && figures.sets_rebuilt > 0, "\n{}", figures.table());
    assert_eq!(figures.by_wound.len(), 13, "every kind was tried\n{}", figures.table());
}
