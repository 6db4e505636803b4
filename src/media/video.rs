//! From decoded pictures to upright RGB of a bounded size.

use ffmpeg_the_third::software::scaling::{self, Flags};
use ffmpeg_the_third::{Error, Rational, format::Pixel, frame};

use super::MAX_SIDE;
use super::ffmpeg::set_colours;

/// Scales, converts and rotates; keeps its buffers from frame to frame.
pub(super) struct Picture {
    rotation: u16,
    scaler: Option<Scaler>,
    /// Rows without padding, where those of the scaler have some or a rotation is needed.
    packed: Vec<u8>,
}

struct Scaler {
    from: (Pixel, u32, u32),
    context: scaling::Context,
    rgb: frame::Video,
}

impl Picture {
    /// `rotation` is clockwise: 0, 90, 180 or 270 degrees.
    pub(super) fn new(rotation: u16) -> Self {
        Self { rotation, scaler: None, packed: Vec::new() }
    }

    /// Width and height of the result and its rows of RGB24.
    pub(super) fn convert(&mut self, frame: &frame::Video) -> Result<((u32, u32), &[u8]), Error> {
        let from = (frame.format(), frame.width(), frame.height());
        let scaler = match self.scaler.take() {
            Some(same) if same.from == from => self.scaler.insert(same),
            _ => self.scaler.insert(Scaler::new(from, frame)?),
        };
        scaler.context.run(frame, &mut scaler.rgb)?;
        let (w, h) = (scaler.rgb.width() as usize, scaler.rgb.height() as usize);
        let (stride, row) = (scaler.rgb.stride(0), w * 3);
        let data = scaler.rgb.data(0);
        let (w32, h32) = (w as u32, h as u32);
        if self.rotation == 0 && stride == row {
            return Ok(((w32, h32), &data[..row * h]));
        }
        self.packed.resize(row * h, 0);
        let rows = data.chunks(stride).take(h).map(|padded| &padded[..row]);
        match self.rotation {
            90 => turn(rows, &mut self.packed, h, |x, y| (h - 1 - y, x)),
            180 => turn(rows, &mut self.packed, w, |x, y| (w - 1 - x, h - 1 - y)),
            270 => turn(rows, &mut self.packed, h, |x, y| (y, w - 1 - x)),
            _ => {
                for (to, from) in self.packed.chunks_exact_mut(row).zip(rows) {
                    to.copy_from_slice(from);
                }
            }
        }
        let upright = if self.rotation.is_multiple_of(180) { (w32, h32) } else { (h32, w32) };
        Ok((upright, &self.packed))
    }
}

impl Scaler {
    fn new(from: (Pixel, u32, u32), frame: &frame::Video) -> Result<Self, Error> {
        let (format, w, h) = from;
        let (to_w, to_h) = target_size(w, h, frame.aspect_ratio());
        // Shrinking must count every source pixel: FAST_BILINEAR skips some, which makes moiré,
        // which a spoof check looks for. It would also want to generate code, which the sandbox
        // refuses. Without a change of size no filter runs at all.
        let flags = Flags::BILINEAR;
        let mut context = scaling::Context::get(format, w, h, Pixel::RGB24, to_w, to_h, flags)?;
        set_colours(&mut context, frame);
        Ok(Self { from, context, rgb: frame::Video::new(Pixel::RGB24, to_w, to_h) })
    }
}

/// Moves each pixel to `place(x, y)` of an image that is `width` wide.
fn turn<'a>(
    rows: impl Iterator<Item = &'a [u8]>,
    to: &mut [u8],
    width: usize,
    place: impl Fn(usize, usize) -> (usize, usize),
) {
    let (pixels, _) = to.as_chunks_mut::<3>();
    for (y, row) in rows.enumerate() {
        for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
            let (tx, ty) = place(x, y);
            pixels[ty * width + tx] = *pixel;
        }
    }
}

/// The size to show a `w` x `h` picture at: square pixels, at most [`MAX_SIDE`], never enlarged
/// beyond what the pixel aspect ratio asks for, and even where it is scaled.
fn target_size(w: u32, h: u32, aspect: Rational) -> (u32, u32) {
    let pixel = f64::from(aspect);
    // Unset is 0/1; what no camera writes is ignored.
    let pixel = if (0.25..=4.0).contains(&pixel) { pixel } else { 1.0 };
    let (shown_w, shown_h) = (f64::from(w) * pixel, f64::from(h));
    let scale = (f64::from(MAX_SIDE) / shown_w.max(shown_h)).min(1.0);
    if scale >= 1.0 && (pixel - 1.0).abs() < 1e-9 {
        return (w, h);
    }
    let even = |side: f64| (((side * scale / 2.0).round() as u32) * 2).clamp(2, MAX_SIDE);
    (even(shown_w), even(shown_h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let square = Rational::new(1, 1);
        assert_eq!(target_size(640, 480, square), (640, 480));
        assert_eq!(target_size(321, 241, square), (321, 241));
        assert_eq!(target_size(1280, 720, square), (640, 360));
        assert_eq!(target_size(1080, 1920, square), (360, 640));
        assert_eq!(target_size(4096, 2, square), (640, 2));
        assert_eq!(target_size(720, 576, Rational::new(16, 15)), (640, 480));
        assert_eq!(target_size(640, 480, Rational::new(0, 1)), (640, 480));
        assert_eq!(target_size(640, 480, Rational::new(1, 0)), (640, 480));
    }

    #[test]
    fn turns() {
        // 2 x 3, named by reading order.
        let source: Vec<u8> = (1..=6).flat_map(|v| [v, v, v]).collect();
        let turned = |width, place: &dyn Fn(usize, usize) -> (usize, usize)| {
            let mut to = vec![0; 18];
            turn(source.chunks(6), &mut to, width, place);
            to.iter().copied().step_by(3).collect::<Vec<_>>()
        };
        let (w, h) = (2, 3);
        assert_eq!(turned(h, &|x, y| (h - 1 - y, x)), [5, 3, 1, 6, 4, 2]);
        assert_eq!(turned(w, &|x, y| (w - 1 - x, h - 1 - y)), [6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(h, &|x, y| (y, w - 1 - x)), [2, 4, 6, 1, 3, 5]);
    }
}
