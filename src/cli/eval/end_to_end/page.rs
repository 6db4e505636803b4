//! The report as one HTML file with its plots in it.

use std::fmt::Write as _;

use super::figures::{Report, Row};
use crate::cli::eval::plot::{self, Axis, Bar, Series, escaped};
use crate::cli::eval::stats::{Rate, trade_off};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;font-size:.85rem}td,th{border-bottom:1px solid #ccc;padding:.2rem .6rem;\
text-align:left;vertical-align:top}figure{display:inline-block;width:32rem;max-width:100%;margin:1rem 1rem 0 0}\
svg{width:100%;height:auto}";

/// The whole page.
pub(super) fn of(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Cameo: evaluation</title>\
         <style>{STYLE}</style><h1>Evaluation, end to end</h1>\
         <p>{} genuine captures and {} attacks; {} people seen, {} heard. Rates stand with the exact \
         95 % interval of Clopper and Pearson, which takes captures for independent; those of one \
         person are not. Attacks are simulated from genuine clips: a rate says how these simulations \
         fare. CPU for one capture: median {:.0} ms, most {:.0} ms.</p>",
        report.captures.0,
        report.captures.1,
        report.people.0,
        report.people.1,
        report.cpu_ms.0,
        report.cpu_ms.1
    );
    for point in &report.points {
        let _ = write!(page, "<h2>{}</h2><h3>Genuine captures</h3>", escaped(&point.policy));
        page += &table(&point.genuine, "not verified", Row::refused, "objected, digits aside");
        page += "<h3>Attacks</h3>";
        page += &table(&point.attacks, "verified (APCER)", |r| r.verified, "unseen");
        let bars = |rows: &[Row], rate: fn(&Row) -> Rate| -> Vec<Bar> {
            let bar = |r: &Row| {
                let Rate { value, low, high, .. } = rate(r);
                Bar { name: r.name.clone(), series: 0, value: (value, low, high) }
            };
            rows.iter().map(bar).collect()
        };
        for (title, rows, rate) in [
            ("Genuine captures not verified", &point.genuine, Row::refused as fn(&Row) -> Rate),
            ("Attacks verified", &point.attacks, |r: &Row| r.verified),
            ("Attacks that no check saw that looks there", &point.attacks, |r: &Row| r.unseen),
        ] {
            page += &figure(&plot::bars(title, "share", &[], &bars(rows, rate)));
        }
    }
    page += "<h2>Scores</h2><p>Each check's score for genuine captures and for the attacks that it \
             looks at; larger is better (continuity: the distance, negated).</p>";
    for s in &report.scores {
        let all = || s.genuine.iter().chain(&s.attacks).copied().filter(|v| v.is_finite());
        let low = f64::from(all().fold(f32::INFINITY, f32::min));
        let high = f64::from(all().fold(f32::NEG_INFINITY, f32::max));
        let range = if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
        let of = [("genuine", &s.genuine[..]), ("attacks", &s.attacks)];
        let title = format!("{}: AUC {:.3}", s.check, s.auc);
        page += &figure(&plot::histogram(&title, "score", range, &of));
        let det = Series { name: s.check.clone(), points: trade_off(&s.genuine, &s.attacks) };
        let labels = ["attacks accepted", "genuine captures refused"];
        let axis = Axis::Probit(0.005, 0.99);
        page += &figure(&plot::curves(&format!("{}: DET", s.check), labels, [axis, axis], &[det]));
    }
    page += "<h2>Models</h2><table><tr><th>role<th>model<th>SHA-256</tr>";
    for (role, models) in &report.models {
        for m in models {
            let _ = write!(
                page,
                "<tr><td>{role}<td>{}<td><code>{}</code></tr>",
                escaped(&m.id),
                escaped(&m.sha256)
            );
        }
    }
    page + "</table></html>\n"
}

fn table(rows: &[Row], error: &str, rate: impl Fn(&Row) -> Rate, unseen: &str) -> String {
    let mut table = format!(
        "<table><tr><th>what<th>n (people)<th>{error}<th>claim<th>review<th>rejected<th>no \
         response<th>{unseen}<th>checks that objected</tr>"
    );
    for r in rows {
        let error = rate(r);
        let _ = write!(
            table,
            "<tr><td>{}<td>{} ({})<td>{error}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escaped(&r.name),
            r.n,
            r.subjects,
            Row::claim(&error),
            r.review.hits,
            r.rejected.hits,
            r.no_response.hits,
            r.unseen,
            escaped(&r.checks())
        );
    }
    table + "</table>"
}

fn figure(svg: &str) -> String {
    format!("<figure>{svg}</figure>")
}
