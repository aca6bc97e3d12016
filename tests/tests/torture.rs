//! A short run of the torture; the long one is `lockbridge-torture kill --cycles 200`.

use lockbridge_tests::torture::{Options, kill};

#[tokio::test]
async fn a_few_deaths_lose_nothing_and_double_nothing() {
    let figures = kill(Options { cycles: 6, seed: 20_261_122 }, |_| {}).await.expect("the run ends");
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.kills == 6 && figures.encodes > 0, "\n{}", figures.table());
}
