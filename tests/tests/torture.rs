//! Short runs of the torture; the long ones are those of `lockbridge-torture`.

use lockbridge_tests::fault_disk::available;
use lockbridge_tests::torture::{
    DiskOptions, Options, PointOptions, PowerOptions, SoakOptions, disk, kill, live, points, soak,
};

#[tokio::test]
async fn a_few_deaths_lose_nothing_and_double_nothing() {
    let figures = kill(Options { cycles: 6, seed: 20_261_122 }, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.kills == 6 && figures.encodes > 0, "\n{}", figures.table());
}

#[tokio::test]
async fn what_came_and_went_leaves_nothing_behind() {
    let options = SoakOptions { rounds: 9, guests: 8, seed: 20_261_122 };
    let figures = soak(options, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
}

#[tokio::test]
async fn a_crash_at_some_calls_and_bytes_loses_nothing_and_hides_nothing() {
    if !available("the torture at enumerated points") {
        return;
    }
    // Not a multiple of the three effects at a call, so that all of them come.
    let options =
        PointOptions { seed: 20_261_122, kind: None, every: 13, every_byte: 800, from: 1, to: usize::MAX, jobs: 1 };
    let figures = points(options, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    let kinds = [figures.kills_at_calls, figures.kills_at_bytes, figures.power_cuts];
    assert!(kinds.into_iter().all(|kind| kind > 0), "\n{}", figures.table());
}

#[tokio::test]
async fn a_few_power_cuts_lose_nothing_and_double_nothing() {
    if !available("the torture by power cuts") {
        return;
    }
    let figures =
        live(PowerOptions { cycles: 6, seed: 20_261_122, lying_disk: false }, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.figures.kills >= 6 && figures.figures.encodes > 0, "\n{}", figures.table());
}

#[tokio::test]
async fn a_full_and_failing_disk_is_survived() {
    if !available("the torture of a full and failing disk") {
        return;
    }
    let figures = disk(DiskOptions { seed: 20_261_122 }, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
}
