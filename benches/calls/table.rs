//! What was measured, round by round.

/// One case in one round.
pub struct Sample {
    /// The server's time on a processor for one call, in microseconds.
    pub cost: f64,
    /// In microseconds, as the load saw it; NaN where nobody looked.
    pub p99: f64,
    /// Calls a second.
    pub rate: f64,
}

#[derive(Default)]
pub struct Table {
    rows: Vec<(String, Vec<Sample>)>,
}

impl Table {
    pub fn add(&mut self, name: String, sample: Sample) {
        match self.rows.iter_mut().find(|(of, _)| *of == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((name, vec![sample])),
        }
    }

    /// What it cost in each round.
    pub fn costs(&self, name: &str) -> Vec<f64> {
        let (_, samples) = self.rows.iter().find(|(of, _)| of == name).expect("it was measured");
        samples.iter().map(|sample| sample.cost).collect()
    }

    pub fn print(&self) {
        let head = "server's CPU, µs for one call";
        println!("\n{head:<55} {:>7} {:>7} {:>7}  {:>9} {:>9}", "median", "lower q", "upper q", "p99 µs", "calls/s");
        for (name, samples) in &self.rows {
            let of = |value: fn(&Sample) -> f64, share| quantile(samples.iter().map(value).collect(), share);
            let p99 = of(|sample| sample.p99, 0.5);
            let p99 = if p99.is_nan() { "-".to_owned() } else { format!("{p99:.0}") };
            let [lower, median, upper] = [0.25, 0.5, 0.75].map(|share| of(|sample| sample.cost, share));
            let rate = of(|sample| sample.rate, 0.5);
            println!("{name:<55} {median:>7.2} {lower:>7.2} {upper:>7.2}  {p99:>9} {rate:>9.0}");
        }
    }
}

pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
