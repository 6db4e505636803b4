//! Plots as SVG: curves, histograms and bars with intervals. No more than the reports need.

use std::fmt::Write;

/// Size of a plot and the border for its labels, in pixels.
const SIZE: (f64, f64) = (640.0, 420.0);
const BORDER: (f64, f64, f64, f64) = (70.0, 40.0, 20.0, 60.0); // left, top, right, bottom
/// One colour for each series (Okabe and Ito's, told apart by colour-blind people).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"];

/// A named series of points.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A value with an interval, and its name.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Which series it belongs to.
    pub series: usize,
    /// Value and interval.
    pub value: (f64, f64, f64),
}

/// How an axis is laid out.
#[derive(Clone, Copy, Debug)]
pub enum Axis {
    /// From one value to another.
    Linear(f64, f64),
    /// Probabilities on the scale of the normal distribution, as in a DET plot (Martin et al. 1997),
    /// from the first to the second.
    Probit(f64, f64),
}

/// Curves over two axes.
pub fn curves(title: &str, labels: [&str; 2], axes: [Axis; 2], series: &[Series]) -> String {
    let mut plot = Plot::new(title, labels, axes);
    for (i, s) in series.iter().enumerate() {
        let points: Vec<String> =
            s.points.iter().map(|p| format!("{:.1},{:.1}", plot.x(p.0), plot.y(p.1))).collect();
        plot.add(&format!(
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>",
            colour(i),
            points.join(" ")
        ));
        plot.legend(i, &s.name);
    }
    plot.finish()
}

/// Shares of values in equal bins between `low` and `high`; what lies beyond goes to the last bin.
pub fn histogram(
    title: &str,
    label: &str,
    (low, high): (f64, f64),
    of: &[(&str, &[f32])],
) -> String {
    const BINS: usize = 40;
    let width = (high - low) / BINS as f64;
    let counted: Vec<Vec<f64>> = of
        .iter()
        .map(|(_, values)| {
            let mut bins = vec![0.0; BINS];
            for v in values.iter().filter(|v| v.is_finite()) {
                let at = ((f64::from(*v) - low) / width).floor().clamp(0.0, BINS as f64 - 1.0);
                bins[at as usize] += 1.0 / values.len() as f64;
            }
            bins
        })
        .collect();
    let top = counted.iter().flatten().copied().fold(0.05, f64::max);
    let mut plot =
        Plot::new(title, [label, "share"], [Axis::Linear(low, high), Axis::Linear(0.0, top)]);
    for (i, (bins, (name, values))) in counted.iter().zip(of).enumerate() {
        for (k, share) in bins.iter().enumerate().filter(|(_, s)| **s > 0.0) {
            let left = low + k as f64 * width;
            let (x, y) = (plot.x(left), plot.y(*share));
            plot.add(&format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\" \
                 fill-opacity=\"0.45\"/>",
                plot.x(left + width) - x,
                plot.y(0.0) - y,
                colour(i)
            ));
        }
        plot.legend(i, &format!("{name} (n {})", values.len()));
    }
    plot.finish()
}

/// Bars from zero with intervals; `series` names the colours.
pub fn bars(title: &str, label: &str, series: &[&str], bars: &[Bar]) -> String {
    let top = bars.iter().map(|b| b.value.2).filter(|v| v.is_finite()).fold(0.1, f64::max).min(1.0);
    let n = bars.len().max(1) as f64;
    let mut plot = Plot::new(title, ["", label], [Axis::Linear(0.0, n), Axis::Linear(0.0, top)]);
    for (i, b) in bars.iter().enumerate().filter(|(_, b)| b.value.0.is_finite()) {
        let (left, right) = (plot.x(i as f64 + 0.15), plot.x(i as f64 + 0.85));
        let middle = f64::midpoint(left, right);
        let (y, low, high) = (plot.y(b.value.0), plot.y(b.value.1), plot.y(b.value.2.min(top)));
        let bottom = plot.y(0.0);
        plot.add(&format!(
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
             <line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" \
             stroke=\"black\"/>\
             <text transform=\"translate({middle:.1},{:.1}) rotate(35)\" font-size=\"10\">{}</text>",
            right - left,
            bottom - y,
            colour(b.series),
            bottom + 12.0,
            escaped(&b.name)
        ));
    }
    for (i, name) in series.iter().enumerate() {
        plot.legend(i, name);
    }
    plot.finish()
}

struct Plot {
    svg: String,
    axes: [Axis; 2],
}

impl Plot {
    fn new(title: &str, labels: [&str; 2], axes: [Axis; 2]) -> Self {
        let (w, h) = SIZE;
        let mut plot = Self { svg: String::new(), axes };
        plot.add(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"white\"/>\n\
             <text x=\"{}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16,{}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            w / 2.0,
            escaped(title),
            w / 2.0,
            h - 12.0,
            escaped(labels[0]),
            h / 2.0,
            escaped(labels[1]),
        ));
        let (left, right, top, bottom) = (BORDER.0, w - BORDER.2, BORDER.1, h - BORDER.3);
        if !labels[0].is_empty() {
            for (value, text) in ticks(axes[0]) {
                let x = plot.x(value);
                plot.add(&format!(
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                     <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                    bottom + 16.0
                ));
            }
        }
        for (value, text) in ticks(axes[1]) {
            let y = plot.y(value);
            plot.add(&format!(
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 6.0,
                y + 4.0
            ));
        }
        plot
    }

    fn x(&self, value: f64) -> f64 {
        BORDER.0 + place(self.axes[0], value) * (SIZE.0 - BORDER.0 - BORDER.2)
    }

    fn y(&self, value: f64) -> f64 {
        SIZE.1 - BORDER.3 - place(self.axes[1], value) * (SIZE.1 - BORDER.1 - BORDER.3)
    }

    fn legend(&mut self, i: usize, name: &str) {
        let y = BORDER.1 + 14.0 + 18.0 * i as f64;
        let x = SIZE.0 - BORDER.2 - 190.0;
        self.add(&format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            y - 11.0,
            colour(i),
            x + 18.0,
            escaped(name)
        ));
    }

    fn add(&mut self, element: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.svg, "{element}");
    }

    fn finish(mut self) -> String {
        self.add("</svg>");
        self.svg
    }
}

fn colour(i: usize) -> &'static str {
    COLOURS[i % COLOURS.len()]
}

/// Where on its axis a value lies, 0–1; values beyond its ends lie at them.
fn place(axis: Axis, value: f64) -> f64 {
    match axis {
        Axis::Linear(low, high) => ((value - low) / (high - low)).clamp(0.0, 1.0),
        Axis::Probit(low, high) => {
            let at = probit(value.clamp(low, high));
            (at - probit(low)) / (probit(high) - probit(low))
        }
    }
}

fn ticks(axis: Axis) -> Vec<(f64, String)> {
    match axis {
        Axis::Linear(low, high) => (0..=5)
            .map(|i| low + (high - low) * f64::from(i) / 5.0)
            .map(|v| (v, format!("{v:.2}")))
            .collect(),
        Axis::Probit(low, high) => [0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99]
            .into_iter()
            .filter(|v| (low..=high).contains(v))
            .map(|v| (v, format!("{} %", v * 100.0)))
            .collect(),
    }
}

/// The normal distribution's quantile, to 0.005 (Hastings 1955): enough for a place on paper.
fn probit(p: f64) -> f64 {
    let t = (-2.0 * p.min(1.0 - p).ln()).sqrt();
    let z = t - (2.30753 + 0.27061 * t) / (1.0 + 0.99229 * t + 0.04481 * t * t);
    if p < 0.5 { -z } else { z }
}

/// Text as it stands between tags.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, z) in [(0.5, 0.0), (0.025, -1.96), (0.975, 1.96), (0.001, -3.09)] {
            assert!((probit(p) - z).abs() < 0.01, "{p}: {}", probit(p));
        }
    }

    #[test]
    fn plots_are_whole_and_stay_inside() {
        let series = Series { name: "a <b>".into(), points: vec![(0.0, 1.0), (1.0, 0.0)] };
        let axis = Axis::Probit(0.001, 0.5);
        let det = curves("t & u", ["x", "y"], [axis, axis], &[series]);
        let shares = histogram("t", "x", (-1.0, 1.0), &[("a", &[0.0, 9.0, f32::NAN]), ("b", &[])]);
        let bar = Bar { name: "n".into(), series: 1, value: (0.5, 0.1, 2.0) };
        let all = bars("t", "y", &["a", "b"], &[bar]);
        for svg in [det, shares, all] {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("<b>") && !svg.contains("t & u"));
        }
    }
}
