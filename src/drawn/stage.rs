//! The picture: a room, one figure or two or none, and a camera's noise.

use image::RgbImage;

use super::backdrop;
use super::bytes;
use super::look::Look;
use super::mesh::{self, Mesh};
use super::noise::{Grain, LEVELS};
use super::paint::Paint;
use super::raster::{Camera, Extent, Raster};
use super::vec3::{Rotation, Vec3, v3};
use super::{Error, FaceState};

/// The point that the head turns about: the top of the neck.
const PIVOT: Vec3 = v3(0.0, 0.40, -0.12);
/// Smallest and largest picture side, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 64..=1920;

/// One person in the picture.
#[derive(Debug)]
pub struct Figure {
    look: Look,
    head: Mesh,
    body: Mesh,
    grain: Grain,
}

impl Figure {
    /// Builds the surfaces of `look`; the slow part of drawing, done once.
    #[must_use]
    pub fn new(look: &Look) -> Self {
        let grain = Grain::new(look.name.bytes().fold(7, |h, b| h * 31 % 65_521 + u64::from(b)));
        let (head, body) = (mesh::head(look, &grain), mesh::body(&grain));
        Self { look: look.clone(), head, body, grain }
    }
}

/// Where a figure stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Middle of the head from the left edge, as a fraction of the width.
    pub x: f32,
    /// Middle of the head from the top edge, as a fraction of the height.
    pub y: f32,
    /// Pixels per head unit (a head is 2.2 units high) as a fraction of the shorter side.
    pub scale: f32,
}

impl Placement {
    /// Alone before the camera.
    pub const CENTRED: Self = Self { x: 0.5, y: 0.48, scale: 0.25 };
    /// The left one of two.
    pub const LEFT: Self = Self { x: 0.30, y: 0.50, scale: 0.20 };
    /// The right one of two.
    pub const RIGHT: Self = Self { x: 0.72, y: 0.50, scale: 0.20 };
}

/// Draws pictures of one size in one room.
#[derive(Debug)]
pub struct Stage {
    width: u32,
    height: u32,
    room: Vec<u8>,
    raster: Raster,
    grain: Grain,
    seats: Seats,
}

/// The picture without heads.
#[derive(Debug, Default)]
struct Seats {
    /// Whose bodies, and where.
    who: Vec<(Look, Placement)>,
    pixels: Vec<u8>,
    near: Vec<f32>,
}

impl Stage {
    /// A stage of `width` x `height` pixels whose wall has the colour of `look`; `seed` decides
    /// the sensor's noise.
    ///
    /// # Errors
    /// [`Error::BadSize`] unless both sides are even and lie in 64..=1920.
    pub fn new(width: u32, height: u32, look: &Look, seed: u64) -> Result<Self, Error> {
        let fits = |side: u32| SIDES.contains(&side) && side.is_multiple_of(2);
        if !fits(width) || !fits(height) {
            return Err(Error::BadSize { width, height });
        }
        let grain = Grain::new(seed);
        let (w, h) = (width as usize, height as usize);
        let room = backdrop::room(w, h, look.colour.wall, &grain);
        Ok(Self { width, height, room, raster: Raster::new(w, h), grain, seats: Seats::default() })
    }

    /// Draws frame number `frame` with these figures.
    pub fn draw(&mut self, figures: &[(&Figure, Placement, FaceState)], frame: u64) -> RgbImage {
        let row = self.width as usize * 3;
        self.seat(figures);
        let mut pixels = self.seats.pixels.clone();
        self.raster.restore(&self.seats.near);
        for (figure, placement, state) in figures {
            let extent = self.head(figure, *placement, state, &mut pixels);
            let (rows, columns) =
                (extent.rows(self.height as usize), extent.columns(self.width as usize));
            bytes::soften(&mut pixels, row, rows, columns);
        }
        self.grain.expose(&mut pixels, row, frame);
        RgbImage::from_raw(self.width, self.height, pixels).unwrap_or_default()
    }

    /// Draws what does not move, the room and the bodies, unless that is there from last time.
    fn seat(&mut self, figures: &[(&Figure, Placement, FaceState)]) {
        let who = figures.iter().map(|(f, at, _)| (f.look.clone(), *at)).collect::<Vec<_>>();
        if self.seats.who == who && !self.seats.pixels.is_empty() {
            return;
        }
        let mut pixels = self.room.clone();
        self.raster.restore(&vec![0.0; pixels.len() / 3]);
        for (figure, at, _) in figures {
            let camera = self.camera(*at);
            let rest = FaceState::default();
            let straight = Rotation::from_degrees(0.0, 0.0, 0.0);
            let paint = Paint::new(&figure.look, &figure.grain, rest, &straight, camera.scale);
            let extent = self.raster.draw(
                &figure.body,
                &camera,
                |v| v.place,
                |pixel, s| put(&mut pixels, pixel, paint.body(s)),
            );
            let (rows, columns) =
                (extent.rows(self.height as usize), extent.columns(self.width as usize));
            bytes::soften(&mut pixels, self.width as usize * 3, rows, columns);
        }
        self.seats = Seats { who, pixels, near: self.raster.depths().to_vec() };
    }

    fn head(
        &mut self,
        figure: &Figure,
        at: Placement,
        state: &FaceState,
        pixels: &mut [u8],
    ) -> Extent {
        let camera = self.camera(at);
        let turn = Rotation::from_degrees(state.yaw, state.pitch, state.roll);
        let shift = PIVOT + v3(state.shift_x, state.shift_y, 0.0);
        let paint = Paint::new(&figure.look, &figure.grain, *state, &turn, camera.scale);
        self.raster.draw(
            &figure.head,
            &camera,
            |v| {
                let jaw = v3(0.0, Paint::jaw(state, v.skin), 0.0);
                turn.apply(v.place + jaw - PIVOT) + shift
            },
            |pixel, s| put(pixels, pixel, paint.head(s)),
        )
    }

    fn camera(&self, at: Placement) -> Camera {
        Camera {
            scale: at.scale * self.width.min(self.height) as f32,
            cx: at.x * self.width as f32,
            cy: at.y * self.height as f32,
        }
    }
}

fn put(pixels: &mut [u8], pixel: usize, c: Vec3) {
    if let Some([r, g, b]) = pixels.get_mut(pixel * 3..pixel * 3 + 3) {
        *r = level(c.x);
        *g = level(c.y);
        *b = level(c.z);
    }
}

/// A channel as a byte that leaves room for noise.
fn level(v: f32) -> u8 {
    ((v * 255.0) as u8).clamp(*LEVELS.start(), *LEVELS.end()) // `as` saturates
}
