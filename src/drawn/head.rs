//! The head as an implicit surface: ellipsoids and cones joined smoothly, negative inside.
//!
//! Distances are approximate (first-order ellipsoid bounds), which is enough to cast rays with a
//! cautious step. The blends are Quílez's polynomial smooth minimum.

use super::look::Look;
use super::vec3::{Vec3, mix, smoothstep, v3};

/// Height of the eyes in head coordinates.
pub(super) const EYE_Y: f32 = -0.04;
/// Height of the line where the closed lips meet.
pub(super) const MOUTH_Y: f32 = 0.625;
/// Where the rays that sample the surface start.
pub(super) const CENTRE: Vec3 = v3(0.0, 0.15, 0.0);

/// Approximate signed distance from `p` (head units) to the bare head's skin.
pub(super) fn skin_distance(look: &Look, p: Vec3) -> f32 {
    let shape = &look.shape;
    let covered = look.hair.fall > 0.0; // ears under long hair are left out
    let q = v3(p.x.abs(), p.y, p.z); // the head is symmetric
    let eye = shape.eye_spacing;
    let nose_y = EYE_Y + shape.nose_length;

    let cranium = ellipsoid(q, v3(0.0, -0.22, -0.06), v3(0.755, 0.88, 0.90));
    let jaw = v3(shape.jaw_width, shape.jaw_length, 0.70);
    let mut d = blend(cranium, ellipsoid(q, v3(0.0, 0.28, 0.12), jaw), 0.28);
    d = blend(d, ellipsoid(q, v3(0.40, 0.20, 0.50), v3(0.24, 0.23, 0.22)), 0.28);
    d = blend(d, ellipsoid(q, v3(0.0, 0.60, 0.58), v3(0.32, 0.26, 0.23)), 0.26);
    d = blend(d, ellipsoid(q, v3(0.0, 0.93, 0.58), v3(0.20, 0.15, 0.16)), 0.22);
    d = blend(d, ellipsoid(q, v3(eye - 0.06, -0.25, 0.69), v3(0.19, 0.065, 0.10)), 0.20);
    d = carve(d, ellipsoid(q, v3(eye, EYE_Y, 0.88), v3(0.20, 0.115, 0.17)), 0.10);
    d = blend(d, ellipsoid(q, v3(eye, EYE_Y, 0.585), v3(0.17, 0.15, 0.165)), 0.05);

    let width = shape.nose_width;
    let bridge = cone(q, v3(0.0, -0.10, 0.80), 0.055, v3(0.0, nose_y - 0.03, 0.95), 0.085);
    d = blend(d, bridge, 0.12);
    d = blend(d, ellipsoid(q, v3(0.0, nose_y, 0.955), v3(0.10, 0.085, 0.10)), 0.06);
    let wing = v3(width * 0.72, nose_y + 0.025, 0.855);
    d = blend(d, ellipsoid(q, wing, v3(width * 0.42, 0.062, 0.085)), 0.05);

    let (mouth, lip) = (shape.mouth_width, shape.lip_height);
    let upper = v3(0.0, MOUTH_Y - 0.40 * lip, 0.80);
    d = blend(d, ellipsoid(q, upper, v3(mouth * 0.9, lip * 0.55, 0.065)), 0.05);
    let lower = v3(0.0, MOUTH_Y + 0.55 * lip, 0.795);
    d = blend(d, ellipsoid(q, lower, v3(mouth * 0.75, lip * 0.6, 0.065)), 0.05);
    if covered { d } else { blend(d, ear(q), 0.05) }
}

/// Approximate signed distance to the ear at `q.x > 0`.
pub(super) fn ear(q: Vec3) -> f32 {
    ellipsoid(q, v3(0.775, 0.03, -0.08), v3(0.055, 0.19, 0.12))
}

/// How far `p` lies outside the hair's edge (negative: under hair), in head units along the skin.
pub(super) fn hair_edge(look: &Look, p: Vec3) -> f32 {
    let hair = &look.hair;
    let ax = p.x.abs();
    // The front hairline: higher in the middle, falling to the temples, off-centre by the parting.
    let off = (p.x - hair.parting * 0.5).abs();
    let front = -0.70 + 0.10 * smoothstep(0.0, 0.45, off) + 0.42 * smoothstep(0.40, 0.74, ax);
    let side = mix(hair.sides, hair.back, smoothstep(0.05, -0.30, p.z));
    let limit = mix(front, side, smoothstep(0.36, 0.14, p.z));
    let from_limit = p.y - limit;
    if hair.fall > 0.0 { from_limit } else { from_limit.max(0.07 - ear(v3(ax, p.y, p.z)) - 0.02) }
}

/// Thickness of the hair over the skin at `p`, given its [`hair_edge`].
pub(super) fn hair_thickness(look: &Look, p: Vec3, edge: f32) -> f32 {
    let hair = &look.hair;
    let crown = smoothstep(-0.2, -0.9, p.y);
    let parting = 1.0 - 0.35 * smoothstep(0.10, 0.0, (p.x - hair.parting).abs()) * crown;
    let hanging = hair.fall * smoothstep(-0.25, 0.55, p.y) * smoothstep(0.45, 0.1, p.z);
    (hair.thickness * mix(0.75, 1.15, crown) * parting + hanging) * smoothstep(0.015, -0.16, edge)
}

/// Quílez's first-order bound of the distance to an ellipsoid.
fn ellipsoid(p: Vec3, centre: Vec3, radii: Vec3) -> f32 {
    let q = p - centre;
    let a = v3(q.x / radii.x, q.y / radii.y, q.z / radii.z);
    let b = v3(a.x / radii.x, a.y / radii.y, a.z / radii.z);
    let k = a.length();
    k * (k - 1.0) / b.length().max(1e-6)
}

/// A capsule whose radius changes from `ra` at `a` to `rb` at `b`.
fn cone(p: Vec3, a: Vec3, ra: f32, b: Vec3, rb: f32) -> f32 {
    let (pa, ba) = (p - a, b - a);
    let t = (pa.dot(ba) / ba.dot(ba)).clamp(0.0, 1.0);
    (pa - ba * t).length() - mix(ra, rb, t)
}

/// Union, rounded over a width of `k`.
fn blend(a: f32, b: f32, k: f32) -> f32 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k * 0.25
}

/// `a` without `b`, rounded over a width of `k`.
fn carve(a: f32, b: f32, k: f32) -> f32 {
    -blend(-a, b, k)
}
