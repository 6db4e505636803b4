//! What moves pixels itself: a photo that is made to turn, and a mask that follows a face.

use super::Face;
use super::frames::Frames;
use super::picture::FPS;
use crate::domain::challenge::Motion;

/// Seconds before the first motion, and from the start of one to the start of the next.
const LEAD_S: f32 = 0.8;
const EACH_S: f32 = 2.0;
/// How long a motion takes, out and back.
const OUT_S: f32 = 1.5;

/// A photo made to turn and speak: the face is a dome in front of a flat picture, and what stands out
/// moves against its edge. `motions` are made one after the other, `turn` face widths far; `mouth` is
/// how far the mouth is open in each frame, 0–1, and says how many frames there are.
pub fn puppet(photo: &Frames, face: Face, motions: &[Motion], turn: f32, mouth: &[f32]) -> Frames {
    let (width, height) = (photo.width as usize, photo.height as usize);
    let blank = vec![0; width * height * 3];
    let still = photo.rgb.first().unwrap_or(&blank);
    let at = Placed::new(face, width, height);
    let frames = mouth.iter().enumerate().map(|(i, open)| {
        let [right, up] = turned(motions, i as f32 / FPS as f32).map(|v| v * turn);
        let mut frame = still.clone();
        for (y, row) in frame.chunks_exact_mut(width * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let [u, v] = at.inside(x as f32, y as f32);
                let dome = (1.0 - (u * u + v * v) / 1.7).max(0.0).sqrt();
                if dome > 0.0 {
                    // The jaw drops: what is below the lips is pulled from above.
                    let jaw = (1.0 - (u / 0.6).powi(2)).max(0.0)
                        * (1.0 - ((v - 0.72) / 0.35).powi(2)).max(0.0);
                    let from = [
                        x as f32 - right * dome * at.half[0] * 2.0,
                        y as f32 + up * dome * at.half[1] * 2.0 - open * 0.12 * jaw * at.half[1],
                    ];
                    pixel.copy_from_slice(&sample(still, width, height, from));
                }
            }
        }
        frame
    });
    Frames { width: photo.width, height: photo.height, rgb: frames.collect() }
}

/// How far a head that makes these motions is turned at a time: towards the image's right and up,
/// −1 to 1.
fn turned(motions: &[Motion], t_s: f32) -> [f32; 2] {
    let since = t_s - LEAD_S;
    let Some(motion) = motions.get((since / EACH_S).floor() as usize).filter(|_| since >= 0.0)
    else {
        return [0.0; 2];
    };
    let within = since % EACH_S;
    let far = if within < OUT_S { (within / OUT_S * std::f32::consts::PI).sin() } else { 0.0 };
    match motion {
        Motion::Left => [far, 0.0],
        Motion::Right => [-far, 0.0],
        Motion::Up => [0.0, far],
        Motion::Down => [0.0, -far],
    }
}

/// A printed face over the face of each frame: paler, in halftone, with holes for eyes and mouth.
/// Frames without a face stay as they are.
pub fn mask(
    mut worn: Frames,
    faces: &[Option<Face>],
    printed: &Frames,
    printed_face: Face,
    halftone: f64,
) -> Frames {
    let (width, height) = (worn.width as usize, worn.height as usize);
    let sheet_size = (printed.width as usize, printed.height as usize);
    let Some(sheet) = printed.rgb.first() else { return worn };
    let from = Placed::new(printed_face, sheet_size.0, sheet_size.1);
    for (frame, face) in worn.rgb.iter_mut().zip(faces) {
        let Some(face) = face else { continue };
        let at = Placed::new(*face, width, height);
        for (y, row) in frame.chunks_exact_mut(width * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let [u, v] = at.inside(x as f32, y as f32);
                if u * u + v * v > 1.1 || is_hole(u, v) {
                    continue;
                }
                let place = [from.centre[0] + u * from.half[0], from.centre[1] + v * from.half[1]];
                let ink = sample(sheet, sheet_size.0, sheet_size.1, place);
                let (du, dv) = (u * at.half[0], v * at.half[1]);
                let dot = ((du + dv) * 1.1).sin() * ((du - dv) * 1.1).sin();
                let shade = 1.0 - halftone as f32 / 255.0 * (0.5 + 0.5 * dot);
                for (p, i) in pixel.iter_mut().zip(ink) {
                    *p = ((f32::from(i) * 0.75 + 45.0) * shade) as u8;
                }
            }
        }
    }
    worn
}

/// Where the wearer's eyes and mouth show.
fn is_hole(u: f32, v: f32) -> bool {
    let inside =
        |cu: f32, cv: f32, w: f32, h: f32| ((u - cu) / w).powi(2) + ((v - cv) / h).powi(2) < 1.0;
    inside(-0.4, -0.3, 0.22, 0.1) || inside(0.4, -0.3, 0.22, 0.1) || inside(0.0, 0.52, 0.34, 0.13)
}

/// A face's box in pixels.
struct Placed {
    centre: [f32; 2],
    half: [f32; 2],
}

impl Placed {
    fn new([left, top, w, h]: Face, width: usize, height: usize) -> Self {
        let size = [width as f32, height as f32];
        // A box without an area would divide by zero.
        let half = [(w * size[0] / 2.0).max(1.0), (h * size[1] / 2.0).max(1.0)];
        Self { centre: [left * size[0] + half[0], top * size[1] + half[1]], half }
    }

    /// A pixel's place in the box, whose edges are at −1 and 1.
    fn inside(&self, x: f32, y: f32) -> [f32; 2] {
        [(x - self.centre[0]) / self.half[0], (y - self.centre[1]) / self.half[1]]
    }
}

/// The colour at a place between pixels; beyond the edge, that of the edge.
fn sample(rgb: &[u8], width: usize, height: usize, [x, y]: [f32; 2]) -> [u8; 3] {
    let x = x.clamp(0.0, (width - 1) as f32);
    let y = y.clamp(0.0, (height - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let at = |x: usize, y: usize, c: usize| f32::from(rgb[(y * width + x) * 3 + c]);
    [0, 1, 2].map(|c| {
        let upper = at(left, top, c) * (1.0 - fx) + at(right, top, c) * fx;
        let lower = at(left, bottom, c) * (1.0 - fx) + at(right, bottom, c) * fx;
        (upper * (1.0 - fy) + lower * fy) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Face = [0.25, 0.25, 0.5, 0.5];

    /// A bright upright bar in the middle of the face.
    fn bar() -> Frames {
        let rgb = (0..64 * 64).flat_map(|i| [if (i % 64 / 2) == 16 { 250 } else { 10 }; 3]);
        Frames { width: 64, height: 64, rgb: vec![rgb.collect()] }
    }

    /// Where the row through the middle is brightest.
    fn brightest(frame: &[u8]) -> usize {
        let row = &frame[32 * 64 * 3..33 * 64 * 3];
        (0..64).max_by_key(|x| row[x * 3]).unwrap()
    }

    #[test]
    fn a_puppet_turns_as_it_is_asked() {
        let frames = (LEAD_S + 2.0 * EACH_S) * FPS as f32;
        let made =
            puppet(&bar(), FACE, &[Motion::Left, Motion::Right], 0.2, &vec![0.0; frames as usize]);
        let when = |s: f32| brightest(&made.rgb[(s * FPS as f32) as usize]);
        let (rest, left) = (when(0.1), when(LEAD_S + OUT_S / 2.0));
        let right = when(LEAD_S + EACH_S + OUT_S / 2.0);
        assert!(left > rest + 3 && right + 3 < rest, "{right} {rest} {left}");
        let corner = |f: &[u8]| f[..30].to_vec();
        assert_eq!(corner(&made.rgb[30]), corner(&bar().rgb[0]), "only the face moves");
        let spoken = puppet(&bar(), FACE, &[], 0.2, &[0.0, 1.0]);
        assert_eq!(spoken.rgb[0], bar().rgb[0]);
    }

    #[test]
    fn a_mask_covers_the_face_but_not_eyes_and_mouth() {
        let flat = |v: u8| Frames { width: 64, height: 64, rgb: vec![vec![v; 64 * 64 * 3]; 2] };
        let made = mask(flat(10), &[Some(FACE), None], &flat(200), FACE, 40.0);
        let at = |u: f32, v: f32| {
            made.rgb[0][((32.0 + v * 16.0) as usize * 64 + (32.0 + u * 16.0) as usize) * 3]
        };
        assert!(at(0.0, 0.0) > 100 && at(0.0, -0.8) > 100);
        assert_eq!((at(-0.4, -0.3), at(0.0, 0.52), at(1.5, 1.5)), (10, 10, 10));
        assert_eq!(made.rgb[1], flat(10).rgb[0]);
    }

    #[test]
    fn odd_faces_do_no_harm() {
        for face in [[0.0; 4], [-5.0, -5.0, 0.1, 0.1], [0.9, 0.9, 5.0, 5.0]] {
            assert_eq!(puppet(&bar(), face, &[Motion::Up], 9.0, &[1.0; 30]).rgb.len(), 30);
            assert_eq!(mask(bar(), &[Some(face)], &bar(), face, 255.0).rgb.len(), 1);
        }
        let none = Frames { width: 8, height: 8, rgb: vec![] };
        assert_eq!(puppet(&none, FACE, &[], 0.1, &[0.0]).rgb[0].len(), 192);
    }
}
