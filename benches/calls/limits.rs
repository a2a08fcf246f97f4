//! The ratios that are to be reached, and whether they are.

use super::cases::{What, Who, name};
use super::signature;
use super::table::{Table, quantile};

pub fn print(table: &Table) {
    let costs = |what, who| table.costs(&name(what, who));
    let over = |above: Vec<f64>, below: Vec<f64>| -> Vec<f64> {
        above.iter().zip(below).map(|(above, below)| above / below).collect()
    };
    let get = costs(What::GetOne, Who::Keyward);
    let verify = costs(What::VerifyOne, Who::Keyward);
    let echo = costs(What::VerifyNew, Who::TunedEcho);
    let of_its_own: Vec<f64> =
        costs(What::VerifyNew, Who::Keyward).iter().zip(echo).map(|(new, echo)| new - echo).collect();
    let figures = [
        ("GetToken ÷ stock echo", 0.45, over(get.clone(), costs(What::GetOne, Who::StockEcho))),
        ("GetToken ÷ tuned echo", 1.10, over(get.clone(), costs(What::GetOne, Who::TunedEcho))),
        ("VerifyToken, repeated ÷ tuned echo", 1.25, over(verify, costs(What::VerifyOne, Who::TunedEcho))),
        ("(VerifyToken, first seen − tuned echo) ÷ RS256 alone", 1.25, over(of_its_own, table.costs(signature::NAME))),
        ("GetToken, mTLS ÷ plaintext", 1.20, over(costs(What::GetOne, Who::KeywardMtls), get)),
    ];
    println!("\n{:<55} {:>7} {:>9} {:>7} {:>7}", "figure, over 4 x 32", "at most", "measured", "lower q", "upper q");
    for (figure, limit, ratios) in figures {
        let [lower, median, upper] = [0.25, 0.5, 0.75].map(|share| quantile(ratios.clone(), share));
        let verdict = if median > limit { "  missed" } else { "" };
        println!("{figure:<55} {limit:>7.2} {median:>9.2} {lower:>7.2} {upper:>7.2}{verdict}");
    }
}
