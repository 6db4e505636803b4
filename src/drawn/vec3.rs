//! The little linear algebra that drawing needs.

use std::ops::{Add, Mul, Sub};

/// A point or direction: x to the image's right, y down, z towards the viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Vec3 {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) z: f32,
}

/// Shorthand for [`Vec3`].
pub(super) const fn v3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    pub(super) fn dot(self, o: Self) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    pub(super) fn cross(self, o: Self) -> Self {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// This direction with length 1 (a zero vector stays zero).
    pub(super) fn unit(self) -> Self {
        self * (1.0 / self.length().max(1e-9))
    }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    fn mul(self, k: f32) -> Self {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

/// A rotation matrix, by rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation([Vec3; 3]);

impl Rotation {
    /// `Rz(roll) · Ry(yaw) · Rx(pitch)`, degrees. With y pointing down and z at the viewer, yaw > 0
    /// moves the nose to the image's right, pitch > 0 moves it up, and roll > 0 moves the crown to
    /// the image's right.
    pub(super) fn from_degrees(yaw: f32, pitch: f32, roll: f32) -> Self {
        let (sy, cy) = yaw.to_radians().sin_cos();
        let (sp, cp) = pitch.to_radians().sin_cos();
        let (sr, cr) = roll.to_radians().sin_cos();
        // Ry · Rx
        let a = [v3(cy, sy * sp, sy * cp), v3(0.0, cp, -sp), v3(-sy, cy * sp, cy * cp)];
        Self([a[0] * cr - a[1] * sr, a[0] * sr + a[1] * cr, a[2]])
    }

    /// The vector turned.
    pub(super) fn apply(&self, v: Vec3) -> Vec3 {
        v3(self.0[0].dot(v), self.0[1].dot(v), self.0[2].dot(v))
    }

    /// The vector turned back.
    pub(super) fn undo(&self, v: Vec3) -> Vec3 {
        self.0[0] * v.x + self.0[1] * v.y + self.0[2] * v.z
    }
}

/// Hermite step from 0 at `a` to 1 at `b` (`a` may be the greater of the two).
pub(super) fn smoothstep(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `a` at 0, `b` at 1.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_follows_the_sign_convention() {
        let nose = v3(0.0, 0.0, 1.0);
        assert!(Rotation::from_degrees(30.0, 0.0, 0.0).apply(nose).x > 0.49);
        assert!(Rotation::from_degrees(0.0, 20.0, 0.0).apply(nose).y < -0.3);
        assert!(Rotation::from_degrees(0.0, 0.0, 10.0).apply(v3(0.0, -1.0, 0.0)).x > 0.1);
    }

    #[test]
    fn undo_is_the_inverse_of_apply() {
        let r = Rotation::from_degrees(31.0, -17.0, 8.0);
        let v = v3(0.3, -0.7, 0.2);
        assert!((r.undo(r.apply(v)) - v).length() < 1e-5);
    }
}
