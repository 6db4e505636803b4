//! A z-buffer over triangles that remembers which triangle each pixel sees, so that every pixel is
//! shaded once.

use super::mesh::{Mesh, Vertex};
use super::vec3::Vec3;

/// From the viewer to the head's origin, in head units: about 90 cm.
const VIEW_DISTANCE: f32 = 8.0;

/// Where a figure stands in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Camera {
    /// Pixels per head unit at the origin's depth.
    pub(super) scale: f32,
    /// Pixel column of the origin.
    pub(super) cx: f32,
    /// Pixel row of the origin.
    pub(super) cy: f32,
}

impl Camera {
    /// Pixel column and row, and a depth that grows towards the viewer.
    fn project(&self, p: Vec3) -> [f32; 3] {
        let near = VIEW_DISTANCE / (VIEW_DISTANCE - p.z.min(VIEW_DISTANCE * 0.5));
        [self.cx + self.scale * p.x * near, self.cy + self.scale * p.y * near, near]
    }
}

const NOTHING: u32 = u32::MAX;

/// What each pixel sees.
#[derive(Debug)]
pub(super) struct Raster {
    width: usize,
    height: usize,
    near: Vec<f32>,
    seen: Vec<Hit>,
    projected: Vec<[f32; 3]>,
}

#[derive(Clone, Copy, Debug)]
struct Hit {
    triangle: u32,
    /// Weights of the triangle's second and third corners.
    b: f32,
    c: f32,
}

/// The surface under one pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surfel {
    pub(super) skin: Vec3,
    pub(super) normal: Vec3,
    pub(super) ambient: f32,
    pub(super) hair: f32,
    pub(super) mottle: f32,
}

impl Raster {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let nothing = Hit { triangle: NOTHING, b: 0.0, c: 0.0 };
        Self {
            width,
            height,
            near: vec![0.0; width * height],
            seen: vec![nothing; width * height],
            projected: Vec::new(),
        }
    }

    /// Goes back to the depths `near`, as [`Raster::depths`] gave them.
    pub(super) fn restore(&mut self, near: &[f32]) {
        self.near.copy_from_slice(near);
    }

    /// How near each pixel is; 0 where nothing has been drawn.
    pub(super) fn depths(&self) -> &[f32] {
        &self.near
    }

    /// Draws `mesh` with every vertex moved by `place`, then calls `shade` with the index of each
    /// pixel (row by row) where the mesh is nearer than all that was drawn before.
    pub(super) fn draw(
        &mut self,
        mesh: &Mesh,
        camera: &Camera,
        place: impl Fn(&Vertex) -> Vec3,
        mut shade: impl FnMut(usize, &Surfel),
    ) -> Extent {
        self.projected.clear();
        self.projected.extend(mesh.vertices.iter().map(|v| camera.project(place(v))));
        let mut extent = Extent::empty();
        for (index, t) in mesh.triangles.iter().enumerate() {
            let corners = t.map(|i| self.projected[i as usize]);
            self.fill(index as u32, corners, &mut extent);
        }
        for row in extent.rows(self.height) {
            for column in extent.columns(self.width) {
                let pixel = row * self.width + column;
                let hit = self.seen[pixel];
                if hit.triangle != NOTHING {
                    self.seen[pixel].triangle = NOTHING;
                    shade(pixel, &surfel(mesh, hit));
                }
            }
        }
        extent
    }

    fn fill(&mut self, index: u32, [a, b, c]: [[f32; 3]; 3], extent: &mut Extent) {
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        if area >= -1e-6 {
            return; // a back face
        }
        // Pixel centres inside the bounding box; a negative corner saturates to 0.
        let low = |i: usize| (a[i].min(b[i]).min(c[i]).max(0.0) + 0.999_9) as usize;
        let end =
            |i: usize, side: usize| ((a[i].max(b[i]).max(c[i]).max(-1.0) + 1.0) as usize).min(side);
        let (left, right) = (low(0), end(0, self.width));
        let (top, bottom) = (low(1), end(1, self.height));
        if left >= right || top >= bottom {
            return;
        }
        extent.include(left, right - 1, top, bottom - 1);
        let k = 1.0 / area;
        for row in top..bottom {
            let y = row as f32 - a[1];
            for column in left..right {
                let x = column as f32 - a[0];
                let wb = (x * (c[1] - a[1]) - y * (c[0] - a[0])) * k;
                let wc = ((b[0] - a[0]) * y - (b[1] - a[1]) * x) * k;
                if wb < -1e-4 || wc < -1e-4 || wb + wc > 1.0 + 1e-4 {
                    continue;
                }
                let near = a[2] + (b[2] - a[2]) * wb + (c[2] - a[2]) * wc;
                let pixel = row * self.width + column;
                if near > self.near[pixel] {
                    self.near[pixel] = near;
                    self.seen[pixel] = Hit { triangle: index, b: wb, c: wc };
                }
            }
        }
    }
}

fn surfel(mesh: &Mesh, hit: Hit) -> Surfel {
    let [a, b, c] = mesh.triangles[hit.triangle as usize].map(|i| &mesh.vertices[i as usize]);
    let wa = 1.0 - hit.b - hit.c;
    let vector = |f: fn(&Vertex) -> Vec3| f(a) * wa + f(b) * hit.b + f(c) * hit.c;
    let number = |f: fn(&Vertex) -> f32| f(a) * wa + f(b) * hit.b + f(c) * hit.c;
    Surfel {
        skin: vector(|v| v.skin),
        normal: vector(|v| v.normal).unit(),
        ambient: number(|v| v.ambient),
        hair: number(|v| v.hair),
        mottle: number(|v| v.mottle),
    }
}

/// The pixels that a mesh touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

impl Extent {
    fn empty() -> Self {
        Self { left: usize::MAX, right: 0, top: usize::MAX, bottom: 0 }
    }

    fn include(&mut self, left: usize, right: usize, top: usize, bottom: usize) {
        self.left = self.left.min(left);
        self.right = self.right.max(right);
        self.top = self.top.min(top);
        self.bottom = self.bottom.max(bottom);
    }

    /// Touched rows of a picture `height` high.
    pub(super) fn rows(&self, height: usize) -> std::ops::Range<usize> {
        self.top.min(height)..(self.bottom + 1).min(height)
    }

    /// Touched columns of a picture `width` wide.
    pub(super) fn columns(&self, width: usize) -> std::ops::Range<usize> {
        self.left.min(width)..(self.right + 1).min(width)
    }
}
