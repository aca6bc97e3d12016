//! Short runs of the torture; `lockbridge-torture` has the long ones.

use lockbridge_tests::torture::{Options, SoakOptions, kill, soak};

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
    println!("{}", figures.table());
}
