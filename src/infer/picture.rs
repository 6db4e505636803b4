//! Pictures: checked frames, similarity crops, tensors and the measures of a face's picture.
//!
//! Coordinates are continuous: pixel `i` covers `i` to `i + 1`, so a picture's width is also its
//! right edge and fractions of the frame need no half-pixel care.

use opencv::core::{BORDER_CONSTANT, Mat, Point3_, Rect, Scalar, Size, Vec3b};
use opencv::imgproc;

use super::error::Error;
use super::geometry::{Area, Similarity};
use super::manifest::adapter::{Colour, ImageInput, Layout};

/// Longest side of a frame that is measured, in pixels. The decoder scales to far less; this only
/// bounds what a caller's mistake can cost.
pub const MAX_FRAME_SIDE: u32 = 8192;

/// A picture of `height` rows of `width` pixels of red, green, blue, without padding.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    width: u32,
    height: u32,
    rgb: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks that `rgb` has three bytes for each pixel.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn new(width: u32, height: u32, rgb: &'a [u8]) -> Result<Self, Error> {
        let sides = 1..=MAX_FRAME_SIDE;
        let pixels = u64::from(width) * u64::from(height);
        let fits = pixels.checked_mul(3) == Some(rgb.len() as u64);
        if !sides.contains(&width) || !sides.contains(&height) || !fits {
            return Err(Error::Shape {
                what: "frame",
                detail: format!("{} bytes for {width} x {height} RGB pixels", rgb.len()),
            });
        }
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: rows of red, green, blue.
    pub fn rgb(&self) -> &'a [u8] {
        self.rgb
    }

    /// The rectangle of the whole frame.
    pub fn area(&self) -> Area {
        Area { left: 0.0, top: 0.0, width: self.width as f32, height: self.height as f32 }
    }

    fn mat(&self) -> Result<opencv::boxed_ref::BoxedRef<'a, Mat>, Error> {
        let m = Mat::new_rows_cols_with_bytes::<Vec3b>(
            self.height as i32,
            self.width as i32,
            self.rgb,
        )?;
        Ok(m)
    }

    /// The part of the frame under `area`, at least one pixel of it.
    fn rect(&self, area: &Area) -> Rect {
        let (w, h) = (self.width as f32, self.height as f32);
        let x = area.left.floor().clamp(0.0, w - 1.0);
        let y = area.top.floor().clamp(0.0, h - 1.0);
        let right = (area.left + area.width).ceil().clamp(x + 1.0, w);
        let bottom = (area.top + area.height).ceil().clamp(y + 1.0, h);
        Rect::new(x as i32, y as i32, (right - x) as i32, (bottom - y) as i32)
    }
}

/// A picture cut out of a frame, red, green, blue. It shows a face, so it is wiped when dropped
/// and never printed.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Crop {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl std::fmt::Debug for Crop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crop({} x {})", self.width, self.height)
    }
}

impl Crop {
    /// A crop of given pixels: rows of red, green, blue.
    ///
    /// # Errors
    /// [`Error::Shape`] as of [`Frame::new`].
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, Error> {
        Frame::new(width, height, &rgb)?;
        Ok(Self { width, height, rgb })
    }

    fn black(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    /// The same pixels as a frame, for measuring a crop again.
    pub fn as_frame(&self) -> Frame<'_> {
        Frame { width: self.width, height: self.height, rgb: &self.rgb }
    }

    /// The pixels: rows of red, green, blue.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The tensor that `input` asks for: its order of axes and channels, each value `v` of channel
    /// `c` as `(v - mean[c]) / std[c]`. A value has 256 cases, so each channel is a table look-up.
    ///
    /// # Errors
    /// [`Error::Shape`] where the crop is not of the input's size.
    pub fn tensor(&self, input: &ImageInput) -> Result<Vec<f32>, Error> {
        if (self.width, self.height) != (input.width, input.height) {
            return Err(Error::Shape {
                what: "crop",
                detail: format!(
                    "{} x {} for {} x {}",
                    self.width, self.height, input.width, input.height
                ),
            });
        }
        let tables: [[f32; 256]; 3] = std::array::from_fn(|c| {
            std::array::from_fn(|v| (v as f32 - input.mean[c]) / input.std[c])
        });
        let source = match input.colour {
            Colour::Rgb => [0, 1, 2],
            Colour::Bgr => [2, 1, 0],
        };
        let mut out = vec![0.0; self.rgb.len()];
        match input.layout {
            Layout::Nhwc => {
                for (to, from) in out.chunks_exact_mut(3).zip(self.rgb.chunks_exact(3)) {
                    for c in 0..3 {
                        to[c] = tables[c][from[source[c]] as usize];
                    }
                }
            }
            Layout::Nchw => {
                let plane = self.rgb.len() / 3;
                let (first, rest) = out.split_at_mut(plane);
                let (second, third) = rest.split_at_mut(plane);
                for (i, from) in self.rgb.chunks_exact(3).enumerate() {
                    first[i] = tables[0][from[source[0]] as usize];
                    second[i] = tables[1][from[source[1]] as usize];
                    third[i] = tables[2][from[source[2]] as usize];
                }
            }
        }
        Ok(out)
    }
}

/// Cuts `width` x `height` pixels out of a frame: `to_frame` maps the crop's coordinates to the
/// frame's. Bilinear; what lies outside of the frame is black.
pub fn warp(
    frame: &Frame<'_>,
    to_frame: &Similarity,
    width: u32,
    height: u32,
) -> Result<Crop, Error> {
    let mut crop = Crop::black(width, height);
    // Where a crop is less than half the size, bilinear sampling would skip pixels: shrink first.
    let shrink = to_frame.scale().floor().clamp(1.0, 16.0);
    if shrink >= 2.0 {
        let (w, h) = (frame.width as f32 / shrink, frame.height as f32 / shrink);
        let (w, h) = ((w.round() as u32).max(1), (h.round() as u32).max(1));
        let small = resize(frame, &frame.area(), w, h, imgproc::INTER_AREA)?;
        let fx = f64::from(w) / f64::from(frame.width);
        let fy = f64::from(h) / f64::from(frame.height);
        warp_into(&small.as_frame(), to_frame, [fx, fy], &mut crop)?;
    } else {
        warp_into(frame, to_frame, [1.0, 1.0], &mut crop)?;
    }
    Ok(crop)
}

fn warp_into(
    frame: &Frame<'_>,
    to_frame: &Similarity,
    scale: [f64; 2],
    crop: &mut Crop,
) -> Result<(), Error> {
    let s = to_frame;
    // From pixel indices to pixel indices: half a pixel in, half a pixel out.
    let row = |x: f64, y: f64, t: f64, k: f64| [x * k, y * k, (t + (x + y) * 0.5) * k - 0.5];
    let m: [[f64; 3]; 2] = [row(s.a, -s.b, s.tx, scale[0]), row(s.b, s.a, s.ty, scale[1])];
    let m = Mat::from_slice_2d(&m)?;
    let (width, height) = (crop.width as i32, crop.height as i32);
    let mut out = Mat::new_rows_cols_with_bytes_mut::<Vec3b>(height, width, &mut crop.rgb)?;
    imgproc::warp_affine(
        &frame.mat()?,
        &mut out,
        &m,
        Size::new(width, height),
        imgproc::INTER_LINEAR | imgproc::WARP_INVERSE_MAP,
        BORDER_CONSTANT,
        Scalar::default(),
    )?;
    Ok(())
}

/// The part of a frame under `area` (clipped to the frame), resized bilinearly to `width` x
/// `height` without regard to its shape.
pub fn stretch(frame: &Frame<'_>, area: &Area, width: u32, height: u32) -> Result<Crop, Error> {
    resize(frame, area, width, height, imgproc::INTER_LINEAR)
}

/// Like [`stretch`], but a part larger than the result is averaged, so that fine detail of a
/// high-resolution camera leaves no false patterns.
pub fn squeeze(frame: &Frame<'_>, area: &Area, width: u32, height: u32) -> Result<Crop, Error> {
    let part = frame.rect(area);
    let shrinks = part.width >= width as i32 && part.height >= height as i32;
    let how = if shrinks { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR };
    resize(frame, area, width, height, how)
}

/// The whole frame fitted into `fill` (0–1) of `width` x `height` at its own shape, at the top
/// left, the rest black; with it, how many pixels of the result one pixel of the frame became.
pub fn letterbox(
    frame: &Frame<'_>,
    width: u32,
    height: u32,
    fill: f32,
) -> Result<(Crop, f32), Error> {
    let scale = fill * (width as f32 / frame.width as f32).min(height as f32 / frame.height as f32);
    let w = ((frame.width as f32 * scale).round() as u32).clamp(1, width);
    let h = ((frame.height as f32 * scale).round() as u32).clamp(1, height);
    let how = if scale < 1.0 { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR };
    let fitted = resize(frame, &frame.area(), w, h, how)?;
    if (w, h) == (width, height) {
        return Ok((fitted, scale));
    }
    let mut boxed = Crop::black(width, height);
    let row = w as usize * 3;
    for (to, from) in
        boxed.rgb.chunks_exact_mut(width as usize * 3).zip(fitted.rgb.chunks_exact(row))
    {
        to[..row].copy_from_slice(from);
    }
    Ok((boxed, scale))
}

fn resize(
    frame: &Frame<'_>,
    area: &Area,
    width: u32,
    height: u32,
    how: i32,
) -> Result<Crop, Error> {
    let mut crop = Crop::black(width, height);
    let source = frame.mat()?;
    let part = Mat::roi(&source, frame.rect(area))?;
    let size = Size::new(width as i32, height as i32);
    let mut out =
        Mat::new_rows_cols_with_bytes_mut::<Vec3b>(size.height, size.width, &mut crop.rgb)?;
    imgproc::resize(&part, &mut out, size, 0.0, 0.0, how)?;
    Ok(crop)
}

/// How the picture of a face looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Mean luma, 0–255.
    pub brightness: f32,
    /// Standard deviation of luma, 0–128.
    pub contrast: f32,
    /// Variance of the Laplacian (4-neighbour kernel) of the luma scaled to 128 x 128.
    pub sharpness: f32,
}

/// Side of the picture that sharpness is measured on: independent of the frame's size.
const LOOK_SIDE: usize = 128;

/// Measures the picture under `area`.
pub fn look(frame: &Frame<'_>, area: &Area) -> Result<Look, Error> {
    let side = LOOK_SIDE as u32;
    let face = stretch(frame, area, side, side)?;
    let luma: Vec<u8> = face.rgb.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect();
    Ok(look_of(&luma))
}

/// Luma of a pixel (ITU-R BT.601), 0–255.
fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b)) >> 8) as u8
}

fn look_of(luma: &[u8]) -> Look {
    let (mut sum, mut squares) = (0u64, 0u64);
    for &v in luma {
        sum += u64::from(v);
        squares += u64::from(v) * u64::from(v);
    }
    let (brightness, variance) = moments(sum as f64, squares as f64, luma.len());
    let (mut sum, mut squares, mut n) = (0i64, 0i64, 0);
    let rows: Vec<&[u8]> = luma.chunks_exact(LOOK_SIDE).collect();
    for window in rows.windows(3) {
        let [above, row, below] = window else { continue };
        for x in 1..LOOK_SIDE - 1 {
            let around = i32::from(above[x])
                + i32::from(below[x])
                + i32::from(row[x - 1])
                + i32::from(row[x + 1]);
            let v = i64::from(around - 4 * i32::from(row[x]));
            sum += v;
            squares += v * v;
        }
        n += LOOK_SIDE - 2;
    }
    let (_, sharpness) = moments(sum as f64, squares as f64, n);
    Look {
        brightness: brightness as f32,
        contrast: variance.sqrt() as f32,
        sharpness: sharpness as f32,
    }
}

/// Mean and variance.
fn moments(sum: f64, squares: f64, n: usize) -> (f64, f64) {
    let n = n.max(1) as f64;
    let mean = sum / n;
    (mean, (squares / n - mean * mean).max(0.0))
}

/// Side of the thumbnail that frames are compared by.
const THUMB_SIDE: usize = 32;
/// Samples along each side of a thumbnail's cell.
const THUMB_SAMPLES: usize = 4;

/// A 32 x 32 luma thumbnail; each cell is the mean of 4 x 4 pixels spread over it.
#[derive(Clone)]
pub struct Thumbnail(Box<[u16; THUMB_SIDE * THUMB_SIDE]>);

impl Thumbnail {
    /// The thumbnail of a frame.
    pub fn of(frame: &Frame<'_>) -> Self {
        const N: usize = THUMB_SIDE * THUMB_SAMPLES;
        let at = |i: usize, side: u32| (2 * i + 1) * side as usize / (2 * N);
        let columns: [usize; N] = std::array::from_fn(|i| at(i, frame.width) * 3);
        let mut cells = Box::new([0u16; THUMB_SIDE * THUMB_SIDE]);
        for y in 0..N {
            let row = &frame.rgb[at(y, frame.height) * frame.width as usize * 3..];
            let line = &mut cells[y / THUMB_SAMPLES * THUMB_SIDE..][..THUMB_SIDE];
            for (cell, samples) in line.iter_mut().zip(columns.chunks_exact(THUMB_SAMPLES)) {
                for &x in samples {
                    *cell += u16::from(luma(row[x], row[x + 1], row[x + 2]));
                }
            }
        }
        Self(cells)
    }

    /// Mean absolute difference of luma, 0–255.
    pub fn difference(&self, other: &Self) -> f32 {
        let sum: u32 =
            self.0.iter().zip(other.0.iter()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let samples = THUMB_SAMPLES * THUMB_SAMPLES;
        sum as f32 / (THUMB_SIDE * THUMB_SIDE * samples) as f32
    }
}

/// A point in space for `OpenCV`.
pub(super) fn point3(p: [f64; 3]) -> Point3_<f64> {
    Point3_::new(p[0], p[1], p[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Vec<u8> {
        (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x + y) as u8]))
            .collect()
    }

    #[test]
    fn a_frame_has_three_bytes_per_pixel() {
        assert!(Frame::new(4, 2, &[0; 24]).is_ok());
        for (w, h, n) in [(4, 2, 23), (0, 2, 0), (4, 0, 0), (u32::MAX, u32::MAX, 3)] {
            assert!(matches!(Frame::new(w, h, &vec![0; n]), Err(Error::Shape { .. })));
        }
    }

    #[test]
    fn the_identity_warp_copies_and_the_outside_is_black() {
        let rgb = gradient(20, 10);
        let frame = Frame::new(20, 10, &rgb).unwrap();
        assert_eq!(warp(&frame, &Similarity::IDENTITY, 20, 10).unwrap().rgb(), rgb);
        let shifted = Similarity { tx: 15.0, ty: 0.0, ..Similarity::IDENTITY };
        let crop = warp(&frame, &shifted, 20, 10).unwrap();
        assert_eq!(crop.rgb()[..3], rgb[45..48]);
        assert_eq!(crop.rgb()[57..60], [0, 0, 0]);
    }

    #[test]
    fn shrinking_keeps_places() {
        let rgb = gradient(240, 200);
        let frame = Frame::new(240, 200, &rgb).unwrap();
        let to_frame = Similarity { a: 4.0, b: 0.0, tx: 20.0, ty: 40.0 };
        let crop = warp(&frame, &to_frame, 30, 30).unwrap();
        let at = |x: usize, y: usize| &crop.rgb()[(y * 30 + x) * 3..][..2];
        // Pixel (10, 5) covers 60..64 x 60..64 of the frame.
        assert!(at(10, 5).iter().all(|v| v.abs_diff(62) <= 1), "{:?}", at(10, 5));
    }

    #[test]
    fn tensors_follow_the_manifest() {
        let crop = Crop { width: 2, height: 1, rgb: vec![10, 20, 30, 40, 50, 60] };
        let mut input = ImageInput {
            tensor: "x".to_owned(),
            width: 2,
            height: 1,
            layout: Layout::Nchw,
            colour: Colour::Bgr,
            mean: [10.0, 0.0, 0.0],
            std: [1.0, 2.0, 1.0],
        };
        assert_eq!(crop.tensor(&input).unwrap(), [20.0, 50.0, 10.0, 25.0, 10.0, 40.0]);
        input.layout = Layout::Nhwc;
        assert_eq!(crop.tensor(&input).unwrap(), [20.0, 10.0, 10.0, 50.0, 25.0, 40.0]);
        input.width = 3;
        assert!(crop.tensor(&input).is_err());
    }

    #[test]
    fn letterboxing_keeps_the_shape() {
        let rgb = vec![200; 40 * 20 * 3];
        let (crop, scale) = letterbox(&Frame::new(40, 20, &rgb).unwrap(), 20, 20, 1.0).unwrap();
        assert_eq!((crop.size(), scale), ((20, 20), 0.5));
        assert!(crop.rgb()[..20 * 10 * 3].iter().all(|v| *v == 200));
        assert!(crop.rgb()[20 * 10 * 3..].iter().all(|v| *v == 0));
    }

    #[test]
    fn looks() {
        let flat = look_of(&[100; LOOK_SIDE * LOOK_SIDE]);
        assert_eq!(flat, Look { brightness: 100.0, contrast: 0.0, sharpness: 0.0 });
        let stripes: Vec<u8> =
            (0..LOOK_SIDE * LOOK_SIDE).map(|i| if i % 2 == 0 { 0 } else { 200 }).collect();
        let look = look_of(&stripes);
        assert!((look.brightness - 100.0).abs() < 1e-3 && (look.contrast - 100.0).abs() < 1e-3);
        assert!((look.sharpness - 160_000.0).abs() < 1.0); // ±400 everywhere
    }

    #[test]
    fn thumbnails_see_changes_and_only_those() {
        let (dark, light) = (vec![50; 64 * 48 * 3], vec![60; 64 * 48 * 3]);
        let [a, b] = [&dark, &light].map(|p| Thumbnail::of(&Frame::new(64, 48, p).unwrap()));
        assert!(a.difference(&a.clone()) == 0.0);
        assert!((a.difference(&b) - 10.0).abs() < 0.1);
        let one = Thumbnail::of(&Frame::new(1, 1, &[9, 9, 9]).unwrap());
        assert!(one.difference(&one) == 0.0);
    }
}
