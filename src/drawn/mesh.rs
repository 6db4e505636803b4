//! The surfaces as triangle meshes, made once per look.
//!
//! The bare head is nearly star-shaped, so it is sampled by casting rays from its centre: rings
//! around the axis through the face, closer together in front. The neck and shoulders are a lathe.

use std::f32::consts::{PI, TAU};

use super::head::{self, CENTRE};
use super::look::Look;
use super::noise::Grain;
use super::vec3::{Vec3, mix, smoothstep, v3};

/// Rings from the tip of the face to the back of the head.
const HEAD_RINGS: usize = 120;
/// Samples per ring; even, so that the two halves mirror each other.
const HEAD_SECTORS: usize = 192;
const BODY_RINGS: usize = 56;
const BODY_SECTORS: usize = 96;

/// One vertex.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vertex {
    /// Where it is at rest, with hair on.
    pub(super) place: Vec3,
    /// Where it is on the bare skin: the coordinates that the face is painted by.
    pub(super) skin: Vec3,
    /// Unit normal at rest.
    pub(super) normal: Vec3,
    /// Ambient light that reaches it, in [0, 1].
    pub(super) ambient: f32,
    /// Distance outside the hair's edge; negative under hair.
    pub(super) hair: f32,
    /// Slow variation of the skin's colour, about -1 to 1.
    pub(super) mottle: f32,
}

/// A triangle mesh, wound the same way everywhere: a front face has negative area on a
/// screen whose y points down.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) vertices: Vec<Vertex>,
    pub(super) triangles: Vec<[u32; 3]>,
}

/// The head of `look`: bare skin displaced by hair.
pub(super) fn head(look: &Look, grain: &Grain) -> Mesh {
    let grid = Grid { rings: HEAD_RINGS, sectors: HEAD_SECTORS };
    let half = HEAD_SECTORS / 2;
    let mut vertices = Vec::with_capacity(HEAD_RINGS * HEAD_SECTORS);
    for ring in 0..HEAD_RINGS {
        // Half of the rings cover the first 60 degrees around the face's axis.
        let s = ring as f32 / (HEAD_RINGS - 1) as f32;
        let polar = PI * (0.62 * s + 0.38 * s * s * s);
        let start = vertices.len();
        for sector in 0..=half {
            let azimuth = PI * sector as f32 / half as f32 - PI / 2.0;
            let way = v3(polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos());
            vertices.push(head_vertex(look, way));
        }
        for sector in 1..half {
            let mut v: Vertex = vertices[start + half - sector];
            v.place.x = -v.place.x;
            v.skin.x = -v.skin.x;
            vertices.push(v);
        }
        for v in &mut vertices[start..] {
            // Hair and mottling are not symmetric, so they come after the mirroring.
            v.hair = head::hair_edge(look, v.skin);
            let thickness = head::hair_thickness(look, v.skin, v.hair);
            v.place = v.skin + (v.skin - CENTRE).unit() * thickness;
            v.mottle =
                grain.smooth(v.skin.x * 5.0 + 31.0, (v.skin.y + v.skin.z * 0.7) * 5.0 + 17.0);
        }
    }
    let mut mesh = Mesh { vertices, triangles: grid.triangles() };
    mesh.find_normals();
    shade_cavities(look, &mut mesh);
    mesh
}

/// Casts a ray from outside towards the centre and keeps where it meets the skin.
fn head_vertex(look: &Look, way: Vec3) -> Vertex {
    let distance = |r: f32| head::skin_distance(look, CENTRE + way * r);
    let (mut outside, mut inside) = (1.7, 0.2);
    let mut r = outside;
    while r > inside {
        let d = distance(r);
        if d < 0.0 {
            inside = r;
            break;
        }
        outside = r;
        r -= (d * 0.8).max(0.006);
    }
    for _ in 0..6 {
        let middle = 0.5 * (outside + inside);
        if distance(middle) < 0.0 { inside = middle } else { outside = middle }
    }
    let skin = CENTRE + way * outside;
    Vertex { place: skin, skin, normal: way, ambient: 1.0, hair: 1.0, mottle: 0.0 }
}

/// Ambient occlusion by probing the field along each normal.
fn shade_cavities(look: &Look, mesh: &mut Mesh) {
    for v in &mut mesh.vertices {
        if v.place.z < 0.0 {
            continue;
        }
        let mut hidden = 0.0;
        for (reach, weight) in [(0.05, 0.5), (0.12, 0.4), (0.26, 0.3)] {
            let clear = head::skin_distance(look, v.skin + v.normal * reach);
            hidden += weight * (1.0 - clear / reach).clamp(0.0, 1.0);
        }
        v.ambient = (1.0 - hidden).clamp(0.25, 1.0);
    }
}

/// Neck and shoulders.
pub(super) fn body(grain: &Grain) -> Mesh {
    let grid = Grid { rings: BODY_RINGS, sectors: BODY_SECTORS };
    let mut vertices = Vec::with_capacity(BODY_RINGS * BODY_SECTORS);
    for ring in 0..BODY_RINGS {
        let s = ring as f32 / (BODY_RINGS - 1) as f32;
        let y = mix(0.45, 3.4, s * s * 0.4 + s * 0.6);
        let slope = smoothstep(1.02, 1.95, y);
        let width = 0.39 + 1.25 * slope.powf(0.8) + 0.10 * smoothstep(1.9, 3.2, y);
        let depth = 0.40 + 0.32 * smoothstep(0.95, 2.0, y);
        let centre = v3(0.0, y, -0.20 + 0.06 * smoothstep(1.0, 2.0, y));
        for sector in 0..BODY_SECTORS {
            let a = TAU * sector as f32 / BODY_SECTORS as f32;
            let place = centre + v3(width * a.cos(), 0.0, depth * a.sin());
            vertices.push(Vertex {
                place,
                skin: place,
                normal: v3(0.0, 0.0, 1.0),
                ambient: smoothstep(0.55, 1.35, y) * 0.55 + 0.45,
                hair: 1.0,
                mottle: grain.smooth(place.x * 6.0 + 57.0, y * 6.0 + 5.0),
            });
        }
    }
    let mut mesh = Mesh { vertices, triangles: grid.triangles() };
    mesh.find_normals();
    mesh
}

impl Mesh {
    /// Area-weighted vertex normals.
    fn find_normals(&mut self) {
        let mut sums = vec![Vec3::default(); self.vertices.len()];
        for t in &self.triangles {
            let [a, b, c] = t.map(|i| self.vertices[i as usize].place);
            // See the winding at `Mesh`: hence c before b.
            let n = (c - a).cross(b - a);
            for &i in t {
                sums[i as usize] = sums[i as usize] + n;
            }
        }
        for (v, n) in self.vertices.iter_mut().zip(sums) {
            v.normal = n.unit();
        }
    }
}

/// A closed strip of rings.
struct Grid {
    rings: usize,
    sectors: usize,
}

impl Grid {
    fn triangles(&self) -> Vec<[u32; 3]> {
        let mut out = Vec::with_capacity((self.rings - 1) * self.sectors * 2);
        for ring in 0..self.rings - 1 {
            for sector in 0..self.sectors {
                let next = (sector + 1) % self.sectors;
                let at = |r: usize, s: usize| (r * self.sectors + s) as u32;
                let (a, b) = (at(ring, sector), at(ring, next));
                let (c, d) = (at(ring + 1, sector), at(ring + 1, next));
                out.push([a, b, c]);
                out.push([b, d, c]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_point_outwards() {
        let look = Look::named("amber").unwrap();
        let grain = Grain::new(1);
        let mesh = head(&look, &grain);
        let outward = mesh.vertices.iter().filter(|v| v.normal.dot(v.place - CENTRE) > 0.0).count();
        assert!(outward * 100 > mesh.vertices.len() * 97, "{outward} of {}", mesh.vertices.len());
        let body = body(&grain);
        let axis = |v: &Vertex| v3(v.place.x, 0.0, v.place.z + 0.2);
        assert!(body.vertices.iter().all(|v| v.normal.dot(axis(v)) > -0.1));
    }

    #[test]
    fn the_bare_skin_is_a_closed_surface_of_plausible_size() {
        let look = Look::named("cedar").unwrap();
        let mesh = head(&look, &Grain::new(1));
        let low = mesh.vertices.iter().map(|v| v.skin.y).fold(f32::MIN, f32::max);
        let high = mesh.vertices.iter().map(|v| v.skin.y).fold(f32::MAX, f32::min);
        let wide = mesh.vertices.iter().map(|v| v.skin.x).fold(f32::MIN, f32::max);
        assert!((0.9..1.3).contains(&low) && (-1.25..-0.9).contains(&high), "{low} {high}");
        assert!((0.7..0.95).contains(&wide), "{wide}");
    }
}
