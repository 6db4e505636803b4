//! The 468-vertex face mesh (Kartynnik et al. 2019) and what is read off it: the face's box, five
//! keypoints, how far eyes and mouth are open.
//!
//! Vertex numbers are those of the published mesh topology. "Left" and "right" are the person's.

use std::path::Path;

use super::detect::Detection;
use super::error::Error;
use super::geometry::{Area, Similarity};
use super::manifest::{Model, adapter};
use super::picture::{Frame, warp};
use super::session::{Pool, Port, Runtime};

/// Vertices of the mesh.
pub const VERTICES: usize = 468;

/// Outer and inner corner of the right eye.
const RIGHT_EYE: [usize; 2] = [33, 133];
/// Outer and inner corner of the left eye.
const LEFT_EYE: [usize; 2] = [263, 362];
/// Upper and lower lid of the right eye, at three places.
const RIGHT_LIDS: [[usize; 2]; 3] = [[160, 144], [159, 145], [158, 153]];
/// Upper and lower lid of the left eye, at three places.
const LEFT_LIDS: [[usize; 2]; 3] = [[385, 380], [386, 374], [387, 373]];
/// Tip of the nose.
const NOSE: usize = 1;
/// Left and right corner of the mouth.
const MOUTH: [usize; 2] = [291, 61];
/// Inner edge of the upper and the lower lip.
const LIPS: [usize; 2] = [13, 14];

/// Smallest side of a crop that is worth looking at, in pixels of the frame.
const MIN_SIDE: f32 = 24.0;

/// A face placed in a frame.
#[derive(Clone)]
pub struct Mesh {
    points: Vec<[f32; 3]>,
    /// The model's own probability that a face is there, 0–1.
    pub presence: f32,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mesh(presence {:.2}, …)", self.presence)
    }
}

/// Where to look for a face: a square with the eyes level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    centre: [f32; 2],
    side: f32,
    angle: f32,
}

impl Region {
    /// The region around a detector's box: `scale` times its longer side.
    pub fn around(found: &Detection, scale: f32) -> Self {
        let [right, left] = found.eyes;
        Self {
            centre: found.area.centre(),
            side: found.area.longer() * scale,
            angle: level(right, left),
        }
    }

    /// Whether it is a place in the frame, of a sensible size.
    fn is_usable(&self, frame: &Frame<'_>) -> bool {
        let (w, h) = (frame.width() as f32, frame.height() as f32);
        let [x, y] = self.centre;
        self.angle.is_finite()
            && (MIN_SIDE..=4.0 * w.max(h)).contains(&self.side)
            && (0.0..=w).contains(&x)
            && (0.0..=h).contains(&y)
    }
}

impl Mesh {
    /// A vertex: x and y in pixels of the frame, z in the same unit, growing away from the camera.
    pub fn point(&self, vertex: usize) -> [f32; 3] {
        self.points[vertex]
    }

    /// A vertex in the picture.
    pub fn at(&self, vertex: usize) -> [f32; 2] {
        let [x, y, _] = self.points[vertex];
        [x, y]
    }

    /// The mean of some vertices in the picture.
    pub fn mean(&self, vertices: &[usize]) -> [f32; 2] {
        let sum = vertices.iter().fold([0.0; 2], |s, v| {
            let p = self.at(*v);
            [s[0] + p[0], s[1] + p[1]]
        });
        sum.map(|s| s / vertices.len().max(1) as f32)
    }

    /// The box around all vertices, in pixels of the frame.
    pub fn area(&self) -> Area {
        let points: Vec<[f32; 2]> = self.points.iter().map(|p| [p[0], p[1]]).collect();
        Area::around(&points)
    }

    /// Where to look for the face in the next frame.
    pub fn region(&self, scale: f32) -> Region {
        let area = self.area();
        Region {
            centre: area.centre(),
            side: area.longer() * scale,
            angle: level(self.mean(&RIGHT_EYE), self.mean(&LEFT_EYE)),
        }
    }

    /// Left eye, right eye, tip of the nose, left and right corner of the mouth, in pixels.
    pub fn keypoints(&self) -> [[f32; 2]; 5] {
        [
            self.mean(&LEFT_EYE),
            self.mean(&RIGHT_EYE),
            self.at(NOSE),
            self.at(MOUTH[0]),
            self.at(MOUTH[1]),
        ]
    }

    /// Distance between the centres of the eyes, in pixels.
    pub fn inter_eye(&self) -> f32 {
        let [right, left] = [self.mean(&RIGHT_EYE), self.mean(&LEFT_EYE)];
        (left[0] - right[0]).hypot(left[1] - right[1])
    }

    /// Lid gap over eye width of the left and the right eye: about 0.3 open, 0.1 shut. Taken in
    /// space, so that a turned head does not seem to close its eyes.
    pub fn eye_open(&self) -> [f32; 2] {
        let ratio = |corners: [usize; 2], lids: [[usize; 2]; 3]| {
            let gap: f32 = lids.iter().map(|[up, low]| self.distance(*up, *low)).sum();
            over(gap / 3.0, self.distance(corners[0], corners[1]))
        };
        [ratio(LEFT_EYE, LEFT_LIDS), ratio(RIGHT_EYE, RIGHT_LIDS)]
    }

    /// Gap between the lips' inner edges over the mouth's width, in space.
    pub fn mouth_open(&self) -> f32 {
        over(self.distance(LIPS[0], LIPS[1]), self.distance(MOUTH[0], MOUTH[1]))
    }

    fn distance(&self, a: usize, b: usize) -> f32 {
        let (a, b) = (self.points[a], self.points[b]);
        (0..3).map(|i| (a[i] - b[i]) * (a[i] - b[i])).sum::<f32>().sqrt()
    }
}

/// The model and its parameters.
#[derive(Debug)]
pub struct FaceMesh {
    pool: Pool,
    params: adapter::FaceMesh,
}

impl FaceMesh {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::FaceMesh,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let inputs = vec![super::image_port(&params.image)];
        let outputs = vec![
            Port::f32(&params.mesh, &[Some(1), Some(VERTICES * 3)]),
            Port::f32(&params.presence, &[Some(1), Some(1)]),
        ];
        let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
        Ok(Self { pool, params })
    }

    /// Side of the region to look at, as a multiple of the face's box.
    pub fn crop_scale(&self) -> f32 {
        self.params.crop_scale
    }

    /// Places the mesh on the face in `region`. `None` where the model sees no face there (its
    /// presence is below the manifest's threshold) or the region is no place in the frame.
    ///
    /// # Errors
    /// [`Error::Run`], [`Error::Picture`].
    pub fn place(&self, frame: &Frame<'_>, region: &Region) -> Result<Option<Mesh>, Error> {
        if !region.is_usable(frame) {
            return Ok(None);
        }
        let image = &self.params.image;
        let to_frame = Similarity::to_square(
            f64::from(image.width),
            region.centre.map(f64::from),
            f64::from(region.side),
            f64::from(region.angle),
        );
        let crop = warp(frame, &to_frame, image.width, image.height)?;
        let outputs = self.pool.run_on_crop(image, &crop)?;
        let [mesh, presence] = &outputs[..] else { return Ok(None) };
        let presence = presence.data.first().copied().unwrap_or(0.0);
        let sound = mesh.data.iter().all(|v| v.is_finite());
        if presence.is_nan() || presence < self.params.presence_threshold || !sound {
            return Ok(None);
        }
        let scale = to_frame.scale();
        let points = mesh
            .data
            .chunks_exact(3)
            .map(|p| {
                let [x, y] = to_frame.apply([p[0], p[1]]);
                [x, y, p[2] * scale]
            })
            .collect();
        Ok(Some(Mesh { points, presence: presence.min(1.0) }))
    }
}

/// The angle by which the line from the right to the left eye is turned, in radians.
fn level(right: [f32; 2], left: [f32; 2]) -> f32 {
    (left[1] - right[1]).atan2(left[0] - right[0])
}

/// `a / b`, zero where `b` is.
fn over(a: f32, b: f32) -> f32 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A mesh of given points; those not given lie in the middle.
    pub(in crate::infer) fn mesh(points: &[(usize, [f32; 3])]) -> Mesh {
        let mut all = vec![[50.0, 50.0, 0.0]; VERTICES];
        for (vertex, p) in points {
            all[*vertex] = *p;
        }
        Mesh { points: all, presence: 1.0 }
    }

    #[test]
    fn ratios_and_keypoints() {
        let m = mesh(&[
            (33, [10.0, 20.0, 0.0]),
            (133, [30.0, 20.0, 0.0]),
            (362, [60.0, 20.0, 0.0]),
            (263, [80.0, 20.0, 0.0]),
            (159, [20.0, 17.0, 0.0]),
            (145, [20.0, 23.0, 0.0]),
            (160, [15.0, 18.0, 0.0]),
            (144, [15.0, 22.0, 0.0]),
            (158, [25.0, 19.0, 0.0]),
            (153, [25.0, 21.0, 0.0]),
            (61, [30.0, 80.0, 0.0]),
            (291, [60.0, 80.0, 0.0]),
            (13, [45.0, 78.0, 0.0]),
            (14, [45.0, 84.0, 0.0]),
        ]);
        assert!((m.eye_open()[1] - 0.2).abs() < 1e-6);
        assert!((m.mouth_open() - 0.2).abs() < 1e-6);
        assert!((m.inter_eye() - 50.0).abs() < 1e-6);
        let [x, y] = m.keypoints()[0];
        assert!((x - 70.0).abs() < 1e-4 && (y - 20.0).abs() < 1e-4);
        assert!(m.region(1.4).angle.abs() < 1e-6);
    }

    #[test]
    fn impossible_regions_are_refused() {
        let rgb = vec![0; 100 * 80 * 3];
        let frame = Frame::new(100, 80, &rgb).unwrap();
        let good = Region { centre: [50.0, 40.0], side: 60.0, angle: 0.1 };
        assert!(good.is_usable(&frame));
        for bad in [
            Region { side: 1.0, ..good },
            Region { side: f32::NAN, ..good },
            Region { side: 1e9, ..good },
            Region { centre: [-1.0, 40.0], ..good },
            Region { centre: [50.0, f32::NAN], ..good },
            Region { angle: f32::NAN, ..good },
        ] {
            assert!(!bad.is_usable(&frame), "{bad:?}");
        }
    }
}
