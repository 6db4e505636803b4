//! Colour and light: what a pixel of the head or the body looks like.
//!
//! The face is painted in the head's own coordinates, so a lid or a lip is where the script says,
//! whichever way the head is turned.

use super::FaceState;
use super::head::{EYE_Y, MOUTH_Y};
use super::look::{Look, Rgb};
use super::noise::Grain;
use super::raster::Surfel;
use super::vec3::{Rotation, Vec3, mix, smoothstep, v3};

/// How far the chin drops when the mouth is wide open, in head units.
const JAW_DROP: f32 = 0.13;
/// Half the gap between the lips when the mouth is wide open, in head units.
const MOUTH_GAPE: f32 = 0.15;
const WHITE: Vec3 = v3(1.0, 1.0, 1.0);

/// One figure's paint for one frame.
pub(super) struct Paint<'a> {
    look: &'a Look,
    grain: &'a Grain,
    state: FaceState,
    /// Towards the key light, the fill light and the viewer, in the head's coordinates.
    key: Vec3,
    fill: Vec3,
    view: Vec3,
    /// The same key and fill for the body, which does not turn.
    key_body: Vec3,
    fill_body: Vec3,
    /// One pixel in head units: the width of a clean edge.
    edge: f32,
}

impl<'a> Paint<'a> {
    pub(super) fn new(
        look: &'a Look,
        grain: &'a Grain,
        state: FaceState,
        turn: &Rotation,
        scale: f32,
    ) -> Self {
        let key = v3(-0.50, -0.55, 0.72).unit();
        let fill = v3(0.75, -0.05, 0.60).unit();
        Self {
            look,
            grain,
            state,
            key: turn.undo(key),
            fill: turn.undo(fill),
            view: turn.undo(v3(0.0, 0.0, 1.0)),
            key_body: key,
            fill_body: fill,
            edge: 0.8 / scale,
        }
    }

    /// The colour of a pixel on the head.
    pub(super) fn head(&self, s: &Surfel) -> Vec3 {
        let hair = if s.hair.abs() < 0.08 {
            smoothstep(0.012, -0.03, s.hair + self.fringe(s))
        } else {
            f32::from(u8::from(s.hair < 0.0))
        };
        let mut lit = WHITE * 0.0;
        if hair < 1.0 {
            lit = self.light(s, self.face(s), 0.10, 14);
            lit = self.eyes(s, lit);
        }
        if hair > 0.0 {
            lit = blend(lit, self.hair(s), hair);
        }
        lit
    }

    /// The colour of a pixel on the neck or the garment.
    pub(super) fn body(&self, s: &Surfel) -> Vec3 {
        let p = s.skin;
        // A round neckline, lower in front.
        let collar = 1.24 + 0.17 * smoothstep(-0.1, 0.5, p.z) - 0.10 * p.x.abs();
        let cloth = smoothstep(-self.edge, self.edge, p.y - collar);
        let skin = colour(self.look.colour.skin) * (1.0 + 0.02 * s.mottle);
        let weave = self.grain.smooth(p.x * 60.0, p.y * 60.0) * 0.035
            + self.grain.smooth(p.x * 3.0 + 9.0, p.y * 2.0) * 0.06;
        let band = smoothstep(0.075, 0.065, p.y - collar) * 0.12;
        let garment = colour(self.look.colour.garment) * (1.0 + weave - band);
        let albedo = blend(skin, garment, cloth);
        let key = wrap(s.normal.dot(self.key_body), 0.25);
        let fill = wrap(s.normal.dot(self.fill_body), 0.3);
        albedo * (s.ambient * (0.40 + 0.55 * key + 0.16 * fill))
    }

    /// How a vertex moves when the jaw opens.
    pub(super) fn jaw(state: &FaceState, skin: Vec3) -> f32 {
        let low = smoothstep(MOUTH_Y - 0.02, 0.95, skin.y);
        state.mouth * JAW_DROP * low * smoothstep(-0.15, 0.5, skin.z)
    }

    /// Diffuse light with a warm terminator, and a soft highlight.
    fn light(&self, s: &Surfel, albedo: Vec3, gloss: f32, tightness: i32) -> Vec3 {
        let key = s.normal.dot(self.key);
        let diffuse = wrap(key, 0.28);
        let fill = wrap(s.normal.dot(self.fill), 0.3);
        let level = s.ambient * (0.44 + 0.16 * fill) + 0.52 * diffuse * mix(s.ambient, 1.0, 0.5);
        // Light that enters the skin comes out redder where it fades.
        let fade = smoothstep(-0.25, 0.15, key) * smoothstep(0.55, 0.15, key);
        let warm = v3(1.0 + 0.06 * fade, 1.0, 1.0 - 0.03 * fade);
        let half = (self.key + self.view).unit();
        let shine = s.normal.dot(half).max(0.0).powi(tightness) * gloss * s.ambient;
        multiply(albedo, warm) * level + WHITE * shine
    }

    /// Skin with everything that is painted flat on it: blush, brows, nostrils, lips.
    fn face(&self, s: &Surfel) -> Vec3 {
        let (p, shape) = (s.skin, &self.look.shape);
        let mut c = colour(self.look.colour.skin) * (1.0 + 0.022 * s.mottle);
        if p.z < 0.15 {
            return c;
        }
        let ax = p.x.abs();
        let red = multiply(c, v3(1.0, 0.74, 0.70));
        c = blend(c, red, 0.42 * spot(ax - 0.40, p.y - 0.27, 0.24, 0.17));
        c = blend(c, red, 0.35 * spot(p.x, p.y - (EYE_Y + shape.nose_length), 0.14, 0.11));
        c = blend(c, red, 0.25 * spot(p.x, p.y - 0.95, 0.20, 0.10));
        let beard = self.look.hair.beard;
        if beard > 0.0 {
            c = blend(c, multiply(c, v3(0.52, 0.50, 0.52)), beard * self.beard(p));
        }
        c = self.brow(p, c);
        // Nostrils.
        let nostril_y = EYE_Y + shape.nose_length + 0.068;
        let nostril = spot(ax - shape.nose_width * 0.48, p.y - nostril_y, 0.046, 0.026);
        c = blend(c, c * 0.30, 0.85 * smoothstep(0.15, 0.75, nostril));
        if p.y > 0.40 { self.mouth(p, c) } else { c }
    }

    fn beard(&self, p: Vec3) -> f32 {
        let ax = p.x.abs();
        let jaw = smoothstep(0.42, 0.62, p.y + 0.25 * smoothstep(0.25, 0.55, ax));
        let cheek = smoothstep(0.20, 0.36, p.y + 0.55 * (ax - 0.45));
        let stubble = 0.85 + 0.15 * self.grain.smooth(p.x * 70.0, p.y * 70.0);
        jaw * cheek.max(smoothstep(0.50, 0.56, p.y)) * stubble
    }

    fn brow(&self, p: Vec3, c: Vec3) -> Vec3 {
        let shape = &self.look.shape;
        // Along the brow: 0 at its inner end, 1 at its tail.
        let along = (p.x.abs() - (shape.eye_spacing - 0.18)) / 0.37;
        if !(-0.1..=1.1).contains(&along) {
            return c;
        }
        let arch = 0.050 * (1.0 - ((along - 0.62) / 0.62).powi(2));
        let middle = EYE_Y - shape.brow_height - arch + 0.012;
        let half = shape.brow_thickness
            * smoothstep(-0.05, 0.2, along)
            * mix(1.15, 0.35, along.clamp(0.0, 1.0));
        let hairs =
            self.grain.smooth(p.x * 55.0 - p.y.signum() * 3.0, p.y * 38.0 + p.x.abs() * 50.0);
        let soft = 0.010 + self.edge;
        let across = (p.y - middle).abs() - half * (1.0 + 0.25 * hairs);
        let cover = smoothstep(soft, -soft, across)
            * smoothstep(1.04, 0.90, along)
            * smoothstep(-0.05, 0.06, along);
        blend(c, colour(self.look.colour.brows), 0.88 * cover)
    }

    /// Lips, teeth and tongue. The upper lip stays, the lower one follows the jaw.
    fn mouth(&self, p: Vec3, c: Vec3) -> Vec3 {
        let (shape, open) = (&self.look.shape, self.state.mouth);
        let width = shape.mouth_width * (1.0 - 0.14 * open);
        let x = p.x / width;
        if x.abs() > 1.35 {
            return c;
        }
        let bow = (1.0 - x * x).max(0.0);
        // y on the screen's side of the jaw's movement: where this bit of skin is now.
        let y = p.y + Self::jaw(&self.state, p) - MOUTH_Y;
        let line = 0.012 - 0.040 * x * x; // corners a little up: friendly
        let gape = open * MOUTH_GAPE * bow.sqrt();
        let lip = shape.lip_height;
        let cupid = 0.018 * smoothstep(0.22, 0.0, x.abs());
        let upper_top = line - gape * 0.35 - (lip * 0.80 * bow.powf(0.8) - cupid * 0.9) - 0.002;
        let upper_low = line - gape * 0.35;
        let lower_top = line + gape * 1.65;
        let lower_low = lower_top + lip * 1.05 * bow.powf(0.7) + 0.002;
        let e = self.edge + 0.006;

        // The shade under the lower lip and the fold beside the mouth.
        let under = spot(p.x, y - lower_low - 0.045, 0.17, 0.04);
        let mut c = blend(c, multiply(c, v3(0.80, 0.74, 0.72)), 0.45 * under);
        let inside = smoothstep(1.03, 0.97, x.abs());
        let lips = smoothstep(-e, e, y - upper_top) * smoothstep(e, -e, y - lower_low) * inside;
        let base = colour(self.look.colour.lips);
        let tone = if y < line { base * 0.90 } else { base * 1.05 };
        let shine = spot(p.x + 0.03, y - lower_top - lip * 0.45, 0.08, 0.018) * 0.10;
        c = blend(c, tone + WHITE * shine, 0.90 * lips);

        // The gap: a line when shut, a mouth with teeth and tongue when open.
        let seam = 0.005;
        let gap = smoothstep(-e, e, y - upper_low + seam) * smoothstep(e, -e, y - lower_top - seam);
        let gap = gap * smoothstep(1.05, 0.93, x.abs());
        if gap > 0.0 {
            let depth = y - upper_low;
            let tongue = smoothstep(0.05, 0.0, lower_top - y) * smoothstep(0.04, 0.10, gape);
            let mut hole = blend(v3(0.22, 0.07, 0.07), v3(0.58, 0.25, 0.25), 0.75 * tongue);
            let teeth = smoothstep(0.050, 0.036, depth)
                * smoothstep(0.02, 0.06, gape)
                * smoothstep(0.80, 0.60, x.abs());
            hole = blend(hole, v3(0.86, 0.83, 0.78), 0.9 * teeth);
            c = blend(c, hole, mix(0.72, 0.97, smoothstep(0.0, 0.03, gape)) * gap);
        }
        c
    }

    /// Lids, lashes and eyes over the lit skin `c`.
    fn eyes(&self, s: &Surfel, c: Vec3) -> Vec3 {
        let (p, shape) = (s.skin, &self.look.shape);
        let side = p.x.signum();
        // Outwards from the pupil, and down.
        let (ex, ey) = (p.x.abs() - shape.eye_spacing, p.y - EYE_Y);
        if p.z < 0.25 || ex.abs() > 0.26 || ey.abs() > 0.2 {
            return c;
        }
        let (w, h) = (shape.eye_width, shape.eye_height);
        let ey = ey + 0.07 * ex; // the outer corner lies a little higher
        let x = ex / w;
        let bow = (1.0 - x * x).max(0.0);
        let (top_open, bottom) = (-h * 1.06 * bow.powf(0.72), h * 0.86 * bow);
        let top = mix(top_open, bottom, self.state.blink);
        let e = self.edge;
        let near = smoothstep(1.45, 1.0, x.abs());

        // Eyelid skin: a shade darker, a crease above, lashes at its rim.
        let socket = spot(ex, ey, w * 1.5, h * 2.6);
        let mut c = blend(
            c,
            multiply(c, v3(0.86, 0.78, 0.76)),
            0.55 * socket * (1.0 - 0.35 * self.state.blink),
        );
        let crease_y = top_open - 0.034 - 0.020 * bow + 0.016 * self.state.blink;
        let crease = smoothstep(0.014 + e, 0.0, (ey - crease_y).abs()) * near;
        let stretched = 1.0 - 0.7 * self.state.blink;
        c = blend(c, multiply(c, v3(0.58, 0.48, 0.45)), 0.60 * crease * stretched);

        // The eye itself.
        let open = smoothstep(-e, e, ey - top)
            * smoothstep(e, -e, ey - bottom)
            * smoothstep(1.01, 0.97, x.abs());
        if open > 0.0 {
            c = blend(c, self.eyeball(s, side, ex, ey, top), open);
        }
        // Lashes: dark along the upper rim, thicker outwards; a faint lower rim.
        let thick = mix(0.011, 0.021, smoothstep(-0.8, 0.9, x));
        let rim = smoothstep(thick + e, thick * 0.4, (ey - top + thick * 0.6).abs());
        let dark = blend(colour(self.look.colour.brows) * 0.55, v3(0.10, 0.07, 0.06), 0.5);
        c = blend(c, dark, 0.90 * rim * smoothstep(1.12, 0.98, x.abs()));
        let lower = smoothstep(0.008 + e, 0.0, (ey - bottom - 0.004).abs());
        blend(c, multiply(c, v3(0.60, 0.45, 0.42)), 0.55 * lower * smoothstep(1.05, 0.9, x.abs()))
    }

    fn eyeball(&self, s: &Surfel, side: f32, ex: f32, ey: f32, top: f32) -> Vec3 {
        // Undo the mirroring of `ex`: both eyes look the same way.
        let (gx, gy) = (ex * side - self.state.gaze_x(), ey + 0.004 - self.state.gaze_y());
        let r = gx.hypot(gy);
        let e = self.edge;
        let radius = 0.070;
        let iris = colour(self.look.colour.iris);
        let spokes = self.grain.smooth(gy.atan2(gx) * 9.0 + 20.0, r * 30.0);
        let mut c = v3(0.93, 0.92, 0.90);
        c = blend(
            c,
            v3(0.88, 0.72, 0.68),
            0.5 * smoothstep(0.75, 1.1, ex.abs() / self.look.shape.eye_width),
        );
        let ring = mix(1.25, 0.45, smoothstep(radius * 0.55, radius, r)) + 0.12 * spokes;
        c = blend(c, iris * ring, smoothstep(radius + e, radius - e, r));
        c = blend(c, v3(0.03, 0.03, 0.03), smoothstep(0.031 + e, 0.031 - e, r));
        // The lid's shadow, then the window's reflection on top.
        let shadow = smoothstep(0.035, 0.0, ey - top);
        c = c * (1.0 - 0.38 * shadow) * mix(0.80, 1.0, s.ambient) * 1.02;
        let glint = smoothstep(0.017 + e, 0.017 - e, (gx + 0.024).hypot(gy + 0.026));
        blend(c, WHITE, 0.92 * glint)
    }

    /// Unevenness of the hair's edge.
    fn fringe(&self, s: &Surfel) -> f32 {
        let p = s.skin;
        let uneven = mix(0.006, 0.022, smoothstep(0.25, 0.55, p.z));
        uneven * self.grain.smooth(p.x * 26.0, p.y * 5.0 + p.z * 20.0)
    }

    fn hair(&self, s: &Surfel) -> Vec3 {
        let (p, base) = (s.skin, colour(self.look.colour.hair));
        // Strands run away from the parting on top and down at the sides.
        let off = p.x - self.look.hair.parting;
        let across =
            p.z * 9.0 + off.signum() * p.y * 2.0 + 2.5 * self.grain.smooth(off * 3.0, p.y * 3.0);
        let fine = self.grain.smooth(across * 6.0, off * 1.5 + p.y * 1.2);
        let coarse = self.grain.smooth(across * 1.6 + 40.0, off + p.y);
        let strand = 1.0 + 0.20 * fine + 0.22 * coarse;
        let key = wrap(s.normal.dot(self.key), 0.25);
        let fill = wrap(s.normal.dot(self.fill), 0.3);
        let rim = 1.0 - s.normal.dot(self.view).abs();
        let half = (self.key + self.view).unit();
        let shine = s.normal.dot(half).max(0.0).powi(18) * (0.8 + 0.7 * fine) * 0.16;
        let gloss = blend(base, WHITE, 0.35) * (shine + 0.05 * rim * key);
        let roots = mix(0.72, 1.0, smoothstep(0.0, -0.10, s.hair));
        base * (strand * roots * (0.42 + 0.62 * key + 0.16 * fill)) + gloss
    }
}

impl FaceState {
    /// How far the irises sit from the middle of the eyes: while the head turns, the eyes stay on
    /// the screen as far as they comfortably can.
    fn gaze_x(&self) -> f32 {
        -0.12 * (self.yaw.to_radians().sin() * 0.75).clamp(-0.42, 0.42)
    }

    fn gaze_y(&self) -> f32 {
        0.10 * (self.pitch.to_radians().sin() * 0.75).clamp(-0.30, 0.30)
    }
}

fn colour(c: Rgb) -> Vec3 {
    v3(c[0], c[1], c[2])
}

fn multiply(a: Vec3, b: Vec3) -> Vec3 {
    v3(a.x * b.x, a.y * b.y, a.z * b.z)
}

fn blend(a: Vec3, b: Vec3, t: f32) -> Vec3 {
    a + (b - a) * t
}

/// Lambert's cosine, wrapped around the edge by `w` as under soft light.
fn wrap(cosine: f32, w: f32) -> f32 {
    ((cosine + w) / (1.0 + w)).max(0.0)
}

/// A soft round spot: 1 in the middle, 0 from the ellipse (rx, ry) outwards.
fn spot(x: f32, y: f32, rx: f32, ry: f32) -> f32 {
    let d = 1.0 - (x / rx).powi(2) - (y / ry).powi(2);
    if d > 0.0 { d * d * (3.0 - 2.0 * d) } else { 0.0 }
}
