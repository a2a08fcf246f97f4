//! What Amazon asks for, in US dollars, in us-east-1 and most Regions. Each with where it is said and when that was read;
//! look at Amazon's own pages before you count on one.

/// Of one successful token response of the client-credentials grant, in the first tier (250,000 a month); later tiers cost
/// less, and are not computed since Amazon's page draws them in by a script and no other source was found that has them.
/// <https://aws.amazon.com/cognito/pricing/>, 2026; the configuration's `tokens.price_per_million_usd` is used in its place.
pub const TOKEN: f64 = 2.25 / 1_000.0;

/// Of an app client for machines, a month. Amazon's guide names token requests alone as what is charged for machines
/// (<https://docs.aws.amazon.com/cognito/latest/developerguide/tracking-cost.html>, as of 2026), and bills of 2026 have no
/// other line. Pages of 2024 and 2025 speak of 6 USD for each active app client besides.
pub const APP_CLIENT: f64 = 0.0;

/// Of a user pool, a month: only who signs in is charged for. <https://aws.amazon.com/cognito/pricing/>, 2026.
pub const USER_POOL: f64 = 0.0;

/// Of a secret, a month. <https://aws.amazon.com/secrets-manager/pricing/>, September 2026.
pub const SECRET: f64 = 0.40;

/// Of a call of Secrets Manager. The same page.
pub const SECRET_CALL: f64 = 0.05 / 10_000.0;

/// Hours of a month, as Amazon's calculator has them.
pub const HOURS: f64 = 730.0;
