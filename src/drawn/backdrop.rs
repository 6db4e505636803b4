//! The room behind: out of focus, with enough in it to be a room.

use super::look::Rgb;
use super::noise::{Grain, LEVELS};
use super::vec3::{mix, smoothstep};

/// A picture of the room, `width` x `height` x 3 bytes.
pub(super) fn room(width: usize, height: usize, wall: Rgb, grain: &Grain) -> Vec<u8> {
    let mut out = Vec::with_capacity(width * height * 3);
    let aspect = width as f32 / height as f32;
    for row in 0..height {
        let y = row as f32 / height as f32;
        for column in 0..width {
            let x = (column as f32 / width as f32 - 0.5) * aspect;
            out.extend(
                at(x, y, wall, grain)
                    .map(|v| ((v * 255.0) as u8).clamp(*LEVELS.start(), *LEVELS.end())),
            );
        }
    }
    out
}

/// The room's colour at `x` (0 in the middle, in picture heights) and `y` (0 at the top).
fn at(x: f32, y: f32, wall: Rgb, grain: &Grain) -> Rgb {
    let light = 0.86 - 0.22 * x - 0.14 * y
        + 0.02 * grain.smooth(x * 3.0, y * 3.0 + 8.0)
        + 0.012 * grain.smooth(x * 40.0, y * 40.0);
    let mut c = wall.map(|v| v * light);
    // A window on the left, a picture on the right, a shelf with books below it.
    let pane = panel(x, y, -0.66, 0.30, 0.17, 0.34, 0.03);
    let bar = 1.0 - panel(x, y, -0.66, 0.30, 0.008, 0.4, 0.012);
    c = blend(c, [0.93, 0.95, 0.97], 0.85 * pane * bar);
    c = blend(c, [0.40, 0.33, 0.27], 0.8 * panel(x, y, 0.56, 0.24, 0.125, 0.10, 0.012));
    let sky = [0.62, 0.72, 0.74];
    let hill = [0.42, 0.52, 0.40];
    let picture = if y > 0.25 + 0.03 * (x * 17.0).sin() { hill } else { sky };
    c = blend(c, picture, 0.8 * panel(x, y, 0.56, 0.24, 0.105, 0.08, 0.012));
    c = blend(c, [0.45, 0.36, 0.28], 0.85 * panel(x, y, 0.66, 0.70, 0.26, 0.012, 0.012));
    for book in 0..9_u8 {
        let n = f32::from(book);
        let tall = 0.055 + 0.018 * grain.smooth(n * 1.7 + 3.0, 2.5);
        let tint = grain.smooth(n * 2.3 + 11.0, 7.5) * 0.5 + 0.5;
        let spine = [mix(0.30, 0.70, tint), mix(0.42, 0.40, tint), mix(0.55, 0.30, tint)];
        let cover = panel(x, y, 0.46 + 0.042 * n, 0.688 - tall, 0.017, tall, 0.010);
        c = blend(c, spine, 0.75 * cover);
    }
    c
}

/// 1 inside the rectangle around (cx, cy) with half sides (w, h), fading over `blur`.
fn panel(x: f32, y: f32, cx: f32, cy: f32, w: f32, h: f32, blur: f32) -> f32 {
    smoothstep(w + blur, w - blur, (x - cx).abs()) * smoothstep(h + blur, h - blur, (y - cy).abs())
}

fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}
