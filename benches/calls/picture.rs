//! Latency against load, as a picture.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::cases::{Servers, What, Who};
use super::load::{self, Order};
use super::table::quantile;

/// Calls a second, evenly, as an open system: latency counts from when a call was due.
const RATES: [f64; 9] = [2_000.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0, 30_000.0, 35_000.0, 40_000.0];
/// Each rate is held for a second, so often.
const TIMES: usize = 3;
/// A server that takes longer is not asked at a higher rate, in µs.
const TOO_LONG: f64 = 20_000.0;

struct Curve {
    name: &'static str,
    color: RGBColor,
    /// Calls a second, and µs.
    p50: Vec<(f64, f64)>,
    p99: Vec<(f64, f64)>,
}

pub fn draw(servers: &Servers<'_>, file: &Path) {
    let curves = [
        curve(servers, Who::StockEcho, "stock tonic echo", RGBColor(200, 80, 40)),
        curve(servers, Who::TunedEcho, "tuned echo", RGBColor(110, 110, 110)),
        curve(servers, Who::Keyward, "keyward", RGBColor(20, 100, 190)),
    ];
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    paint(&curves, file).expect("painted");
    println!("\n{}", file.display());
}

fn curve(servers: &Servers<'_>, who: Who, name: &'static str, color: RGBColor) -> Curve {
    let mut curve = Curve { name, color, p50: Vec::new(), p99: Vec::new() };
    let (method, messages) = What::GetOne.asks();
    for rate in RATES {
        let order = Order {
            address: who.server(servers).address.clone(),
            tls: None,
            method: method.to_owned(),
            messages: servers.platform.folder.join(messages),
            rare: None,
            first: 0,
            calls: rate as usize,
            connections: 4,
            streams: 32,
            rate: Some(rate),
        };
        let done: Vec<_> = (0..TIMES).map(|_| load::by_another_process(&order)).collect();
        let p50 = quantile(done.iter().map(|done| done.p50).collect(), 0.5);
        let p99 = quantile(done.iter().map(|done| done.p99).collect(), 0.5);
        println!("{name:<17} {rate:>6.0} calls a second: p50 {p50:>6.0} µs, p99 {p99:>6.0} µs");
        curve.p50.push((rate, p50));
        curve.p99.push((rate, p99));
        if p99 > TOO_LONG {
            break;
        }
    }
    curve
}

fn paint(curves: &[Curve], file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    // A font that comes along, since a machine may have none.
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular()).map_err(|_| "not a font")?;
    let area = BitMapBackend::new(file, (900, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("GetToken over 4 connections: p50 (thin) and p99 (thick)", ("sans-serif", 20))
        .margin(16)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..RATES[RATES.len() - 1], (20.0..100_000.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("calls a second")
        .y_desc("latency, µs")
        .x_label_formatter(&|rate| format!("{rate:.0}"))
        .y_label_formatter(&|micros| format!("{micros:.0}"))
        .label_style(("sans-serif", 14))
        .light_line_style(RGBColor(240, 240, 240))
        .draw()?;
    for Curve { name, color, p50, p99 } in curves {
        let (thin, thick) = (color.stroke_width(1), color.stroke_width(3));
        chart.draw_series(LineSeries::new(p50.iter().copied(), thin))?;
        chart
            .draw_series(LineSeries::new(p99.iter().copied(), thick))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], thick));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}
