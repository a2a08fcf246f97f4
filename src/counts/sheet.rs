//! What is told: metrics with their meaning, and a value for each set of labels.

use super::striped::Observed;

/// A part of the daemon that tells what it has counted. It is asked seldom, and answers from memory.
pub trait Told: Send + Sync {
    fn tell(&self, sheet: &mut Sheet);
}

/// All that is told at one time.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Metric>);

/// A metric by the name that it is asked for with, unit and `_total` included.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub series: Vec<Series>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub struct Series {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

#[derive(Debug)]
pub enum Value {
    Count(u64),
    Number(f64),
    Observed(Observed),
}

impl Sheet {
    /// Begins a counter: it only rises while the daemon runs. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Metric {
        self.begin(name, help, Kind::Counter)
    }

    /// Begins a metric that may also fall.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Metric {
        self.begin(name, help, Kind::Gauge)
    }

    /// Begins a metric of durations.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> &mut Metric {
        self.begin(name, help, Kind::Histogram)
    }

    pub fn metrics(&self) -> &[Metric] {
        &self.0
    }

    fn begin(&mut self, name: &'static str, help: &'static str, kind: Kind) -> &mut Metric {
        let place = self.0.len();
        self.0.push(Metric { name, help, kind, series: Vec::new() });
        &mut self.0[place]
    }
}

impl Metric {
    pub fn count(&mut self, labels: &[(&'static str, &str)], count: u64) -> &mut Self {
        self.series(labels, Value::Count(count))
    }

    pub fn number(&mut self, labels: &[(&'static str, &str)], number: f64) -> &mut Self {
        self.series(labels, Value::Number(number))
    }

    pub fn observed(&mut self, labels: &[(&'static str, &str)], observed: Observed) -> &mut Self {
        self.series(labels, Value::Observed(observed))
    }

    fn series(&mut self, labels: &[(&'static str, &str)], value: Value) -> &mut Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.series.push(Series { labels, value });
        self
    }
}
