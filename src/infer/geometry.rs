//! Plane geometry: rectangles, similarity transforms and their least-squares fit.

/// A rectangle in pixels of a frame; it may reach beyond the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Area {
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Area {
    /// The smallest rectangle around some points; empty where there are none.
    pub fn around<'a>(points: impl IntoIterator<Item = &'a [f32; 2]>) -> Self {
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for p in points {
            for i in 0..2 {
                low[i] = low[i].min(p[i]);
                high[i] = high[i].max(p[i]);
            }
        }
        if low[0] > high[0] {
            return Self::default();
        }
        Self { left: low[0], top: low[1], width: high[0] - low[0], height: high[1] - low[1] }
    }

    /// The centre.
    pub fn centre(&self) -> [f32; 2] {
        [self.left + self.width / 2.0, self.top + self.height / 2.0]
    }

    /// The longer side.
    pub fn longer(&self) -> f32 {
        self.width.max(self.height)
    }

    /// Intersection over union, 0–1.
    pub fn overlap(&self, other: &Self) -> f32 {
        let span = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
        let both = span(self.left, self.width, other.left, other.width)
            * span(self.top, self.height, other.top, other.height);
        let union = self.width * self.height + other.width * other.height - both;
        if union > 0.0 { both / union } else { 0.0 }
    }
}

/// A similarity transform of the plane: turn, scale and shift.
/// `(x, y)` goes to `(a·x − b·y + tx, b·x + a·y + ty)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Scale times cosine.
    pub a: f64,
    /// Scale times sine.
    pub b: f64,
    /// Shift to the right.
    pub tx: f64,
    /// Shift down.
    pub ty: f64,
}

impl Similarity {
    /// Leaves everything where it is.
    pub const IDENTITY: Self = Self { a: 1.0, b: 0.0, tx: 0.0, ty: 0.0 };

    /// The transform that takes the square `0..size` to the square around `centre` with sides of
    /// `side`, turned clockwise (as seen, with y down) by `angle` radians.
    pub fn to_square(size: f64, centre: [f64; 2], side: f64, angle: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        let (a, b) = (cos * side / size, sin * side / size);
        let half = size / 2.0;
        Self { a, b, tx: centre[0] - a * half + b * half, ty: centre[1] - b * half - a * half }
    }

    /// The transform with the least squared distance between the images of `from` and `to`
    /// (Umeyama 1991, in the plane). `None` where there are fewer than two different points.
    pub fn fit(from: &[[f32; 2]], to: &[[f32; 2]]) -> Option<Self> {
        let n = from.len().min(to.len());
        if n < 2 {
            return None;
        }
        let mean = |points: &[[f32; 2]]| {
            let sum = points[..n]
                .iter()
                .fold([0.0; 2], |s, p| [s[0] + f64::from(p[0]), s[1] + f64::from(p[1])]);
            sum.map(|s| s / n as f64)
        };
        let (cf, ct) = (mean(from), mean(to));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for (f, t) in from.iter().zip(to) {
            let f = [f64::from(f[0]) - cf[0], f64::from(f[1]) - cf[1]];
            let t = [f64::from(t[0]) - ct[0], f64::from(t[1]) - ct[1]];
            dot += f[0] * t[0] + f[1] * t[1];
            cross += f[0] * t[1] - f[1] * t[0];
            spread += f[0] * f[0] + f[1] * f[1];
        }
        if spread.is_nan() || spread < 1e-12 {
            return None;
        }
        let (a, b) = (dot / spread, cross / spread);
        let fit =
            Self { a, b, tx: ct[0] - a * cf[0] + b * cf[1], ty: ct[1] - b * cf[0] - a * cf[1] };
        (fit.scale() > 1e-9 && fit.tx.is_finite() && fit.ty.is_finite()).then_some(fit)
    }

    /// How much longer a line becomes.
    pub fn scale(&self) -> f32 {
        self.a.hypot(self.b) as f32
    }

    /// Where a point goes.
    pub fn apply(&self, p: [f32; 2]) -> [f32; 2] {
        let (x, y) = (f64::from(p[0]), f64::from(p[1]));
        [(self.a * x - self.b * y + self.tx) as f32, (self.b * x + self.a * y + self.ty) as f32]
    }

    /// The way back. Not a number where the scale is zero.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        Self { a, b, tx: -a * self.tx + b * self.ty, ty: -b * self.tx - a * self.ty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn overlaps() {
        let a = Area { left: 0.0, top: 0.0, width: 2.0, height: 2.0 };
        let b = Area { left: 1.0, top: 0.0, width: 2.0, height: 2.0 };
        assert!((a.overlap(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert!((a.overlap(&a) - 1.0).abs() < 1e-6);
        assert!(a.overlap(&Area { left: 9.0, ..a }) == 0.0);
        assert!(Area::default().overlap(&Area::default()) == 0.0);
    }

    #[test]
    fn a_square_is_centred_and_turned_clockwise() {
        let s = Similarity::to_square(10.0, [50.0, 40.0], 20.0, std::f64::consts::FRAC_PI_2);
        let close = |p: [f32; 2], q: [f32; 2]| (p[0] - q[0]).hypot(p[1] - q[1]) < 1e-4;
        assert!(close(s.apply([5.0, 5.0]), [50.0, 40.0]));
        assert!(close(s.apply([0.0, 0.0]), [60.0, 30.0])); // top left goes to top right
    }

    #[test]
    fn too_few_points_fit_nothing() {
        assert_eq!(Similarity::fit(&[[1.0, 1.0]], &[[2.0, 2.0]]), None);
        assert_eq!(Similarity::fit(&[[1.0, 1.0]; 3], &[[2.0, 2.0]; 3]), None);
        assert_eq!(Similarity::fit(&[[f32::NAN, 1.0], [0.0; 2]], &[[2.0, 2.0]; 2]), None);
    }

    proptest! {
        #[test]
        fn fits_what_was_transformed_and_inverts(
            scale in 0.1f64..10.0, angle in -3.0f64..3.0, tx in -100.0f64..100.0, ty in -100.0f64..100.0,
        ) {
            let (sin, cos) = angle.sin_cos();
            let s = Similarity { a: scale * cos, b: scale * sin, tx, ty };
            let from = [[0.0, 0.0], [10.0, 0.0], [3.0, 7.0], [-4.0, 2.0]];
            let to = from.map(|p| s.apply(p));
            let fit = Similarity::fit(&from, &to).unwrap();
            for (p, q) in from.iter().zip(&to) {
                let there = fit.apply(*p);
                prop_assert!((there[0] - q[0]).hypot(there[1] - q[1]) < 1e-3);
                let back = s.inverse().apply(*q);
                prop_assert!((back[0] - p[0]).hypot(back[1] - p[1]) < 1e-3);
            }
        }
    }
}
