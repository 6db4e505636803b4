"""Computer-drawn heads: `render.py WORK --count N`. A puppet in place of a person is an attack too.

An implicit surface (skull, jaw, nose, sockets, lips, ears, neck) is ray-marched and shaded; shape,
colours, pose, expression, light and finish are drawn at random for every head.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from draw import Rng, blur, chance, clouds, uniform

STEPS = 30


def union(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Smooth union of two distance fields."""
    low = np.minimum(a, b)
    return low - np.log(np.exp(-k * (a - low)) + np.exp(-k * (b - low))) / k


def ellipsoid(p: np.ndarray, centre: tuple, radii: tuple) -> np.ndarray:
    q = [(p[i] - centre[i]) / radii[i] for i in range(3)]
    return (np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2) - 1) * min(radii)


class Look:
    """A drawn person."""

    def __init__(self, r: Rng) -> None:
        u = lambda a, b: uniform(r, a, b)  # noqa: E731
        self.jaw, self.chin = u(0.5, 0.66), u(0.7, 0.85)
        self.eye, self.nose, self.nostril = u(0.27, 0.34), u(0.26, 0.36), u(0.1, 0.16)
        self.mouth, self.lip, self.open = u(0.19, 0.28), u(0.05, 0.09), max(0.0, u(-0.3, 0.9))
        self.iris, self.lid = u(0.055, 0.085), u(0.004, 0.09)
        self.brow, self.brow_height = u(0.02, 0.05), u(0.2, 0.26)
        self.hair_front, self.hair_side = u(-0.75, -0.5), u(0.0, 0.9)
        self.hair_thick = u(0.02, 0.22)
        tone = u(0.3, 1.0) ** 0.6
        self.skin = np.array([0.6, 0.72, 0.93]) * tone * r.uniform(0.94, 1.06, 3)
        self.lips = self.skin * np.array([u(0.6, 0.9), u(0.55, 0.8), u(0.85, 1.0)])
        brown = np.array([0.35, 0.55, 0.85]) * u(0.05, 0.9)
        self.hair = brown if chance(r, 0.8) else r.uniform(0.02, 0.6) * r.uniform(0.5, 1.2, 3)
        self.eyes = r.uniform(0.1, 0.55, 3)
        self.cloth = r.uniform(0.05, 0.95, 3)
        self.wall = r.uniform(0.1, 0.95) * r.uniform(0.85, 1.1, 3)

    def surface(self, p: np.ndarray) -> np.ndarray:
        """Distance to the head with its hair, about; x right, y down, z towards the viewer."""
        t = self.hair_thick
        hair = ellipsoid(p, (0, -0.2, -0.12), (0.82 + t, 1.0 + t, 0.9 + t))
        face = np.maximum(p[2] - 0.25, self.hair_front + 0.1 - p[1])  # the hair leaves the face free
        hair = np.maximum(hair, np.minimum(face, p[2] - 0.1))
        return np.minimum(self.head(p), np.maximum(hair, p[1] - self.hair_side))

    def head(self, p: np.ndarray) -> np.ndarray:
        skull = ellipsoid(p, (0, -0.15, 0), (0.8, 1.0, 0.92))
        d = union(skull, ellipsoid(p, (0, 0.42, 0.1), (self.jaw, self.chin, 0.72)), 12)
        d = union(d, ellipsoid(p, (0, 0.12, 0.86), (0.07, 0.3, 0.16)), 18)
        d = union(d, ellipsoid(p, (0, self.nose, 0.93), (self.nostril, 0.09, 0.12)), 20)
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        d = union(d, ellipsoid(mirrored, (self.eye, -0.2, 0.76), (0.22, 0.07, 0.12)), 20)
        d = np.maximum(d, -ellipsoid(mirrored, (self.eye, -0.05, 0.93), (0.19, 0.1, 0.13)))
        d = union(d, ellipsoid(mirrored, (self.eye, -0.04, 0.7), (0.14, 0.11, 0.12)), 40)
        d = union(d, ellipsoid(mirrored, (0.36, 0.28, 0.66), (0.22, 0.2, 0.14)), 14)
        d = union(d, ellipsoid(mirrored, (0.82, 0.02, 0), (0.06, 0.2, 0.12)), 20)
        d = union(d, ellipsoid(p, (0, 0.62, 0.74), (0.24, 0.07, 0.12)), 20)
        return union(d, ellipsoid(p, (0, 1.35, -0.2), (0.45, 0.7, 0.45)), 10)

    def albedo(self, p: np.ndarray, r: Rng) -> np.ndarray:
        x, y, z = p
        out = np.zeros((*x.shape, 3)) + self.skin
        front = (z > 0.3).astype(np.float64)

        def paint(mask: np.ndarray, colour: np.ndarray, strength: float = 1.0) -> None:
            m = np.clip(mask * strength, 0, 1)[..., None]
            out[:] = out * (1 - m) + colour * m

        def soft(distance: np.ndarray, width: float) -> np.ndarray:
            return 1 / (1 + np.exp(np.clip(distance / width, -40, 40)))

        paint(soft(np.hypot((np.abs(x) - 0.36) / 0.22, (y - 0.25) / 0.18) - 1, 0.15) * front, self.skin * [0.8, 0.75, 1.05], 0.4)
        ex, ey = np.abs(x) - self.eye, y + 0.04
        eye = soft(np.hypot(ex / 0.155, ey / self.lid) - 1, 0.08) * front
        paint(soft(np.hypot(ex / 0.19, ey / 0.12) - 1, 0.12) * front, self.skin * 0.65, 0.5)
        paint(eye, np.array([0.92, 0.93, 0.94]))
        ball = np.hypot(ex, ey)
        paint(soft(ball / self.iris - 1, 0.1) * eye, self.eyes)
        paint(soft(ball / self.iris * 2.3 - 1, 0.1) * eye, np.zeros(3) + 0.03)
        by = y + self.brow_height + 0.35 * ex**2
        paint(soft(np.maximum(np.abs(ex) / 0.19 - 1, np.abs(by) / self.brow - 1), 0.15) * front, self.hair, 0.9)
        paint(soft(np.hypot((np.abs(x) - 0.07) / 0.035, (y - self.nose - 0.07) / 0.022) - 1, 0.2) * front, self.skin * 0.3, 0.8)
        my = y - 0.62
        paint(soft(np.hypot(x / self.mouth, my / (self.lip + 0.15 * self.open)) - 1, 0.08) * front, self.lips, 0.85)
        paint(soft(np.hypot(x / (self.mouth * 0.92), my / (0.01 + 0.25 * self.open)) - 1, 0.1) * front, self.lips * 0.3, 0.95)
        hair = (y < self.hair_front - 0.12 * np.cos(x * 3)) | ((z < 0.12) & (y < self.hair_side))
        hair = cv2.GaussianBlur((hair | (self.head(p) > 0.05)).astype(np.float32), (0, 0), 0.8)
        paint(hair, self.hair)
        paint((y > uniform(r, 1.2, 1.8)).astype(np.float64), self.cloth)
        return out


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    return (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    )


def head(r: Rng, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (float32 BGR, with the matte as fourth channel) and the face's box."""
    look, turn = Look(r), rotation(uniform(r, -0.5, 0.5), uniform(r, -0.3, 0.3), uniform(r, -0.15, 0.15))
    unit = side * uniform(r, 0.18, 0.26)
    gy, gx = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = (gx - side / 2) / unit, (gy - side * 0.5) / unit
    depth = np.zeros_like(x)
    back = turn.T.astype(np.float32)

    def at(t: np.ndarray) -> np.ndarray:
        return np.tensordot(back, np.stack([x, y, 2.0 - t]), 1)

    for _ in range(STEPS):
        depth += np.clip(look.surface(at(depth)), -0.05, 0.2) * 0.85
    p = at(depth)
    here = look.surface(p)
    hit = (np.abs(here) < 0.03) & (depth < 3.6)
    normal = np.stack([look.surface(p + np.eye(3, dtype=np.float32)[i].reshape(3, 1, 1) * 0.02) - here for i in range(3)])
    normal = np.tensordot(turn, normal / (np.linalg.norm(normal, axis=0) + 1e-9), 1)
    shade = np.full(x.shape, uniform(r, 0.25, 0.6))
    shine = np.zeros(x.shape)
    for strength in (uniform(r, 0.3, 0.7), uniform(r, 0, 0.35)):
        light = np.array([uniform(r, -0.9, 0.9), uniform(r, -0.9, 0.3), uniform(r, 0.4, 1)])
        lit = np.clip(np.tensordot(light / np.linalg.norm(light), normal, 1), 0, 1)
        shade += strength * lit
        shine += strength * lit ** uniform(r, 12, 50)
    image = look.albedo(p, r) * shade[..., None] + uniform(r, 0, 0.3) * shine[..., None]
    if chance(r, 0.5):
        image = image * (1 + uniform(r, 0, 0.05) * blur(r.standard_normal((side, side), dtype=np.float32), 0.8))[..., None]
    shoulders = (((x / uniform(r, 1.3, 1.9)) ** 2 + ((y - 2.6) / uniform(r, 0.9, 1.2)) ** 2) < 1) & ~hit
    image[shoulders] = look.cloth * uniform(r, 0.5, 1.0)
    matte = blur((hit | shoulders).astype(np.float32), 0.7)[..., None]
    wall = look.wall * (1 + uniform(r, 0, 0.3) * (clouds(r, side, side) - 0.5))[..., None]
    image = np.clip(image * matte + wall * (1 - matte), 0, 1)
    box = np.array([side / 2 - 0.75 * unit, side / 2 - 0.75 * unit, 1.5 * unit, 1.95 * unit])
    return np.dstack([image, matte]).astype(np.float32), box.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--side", type=int, default=128)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    r = np.random.default_rng(3)
    pictures, boxes = [], []
    for _ in range(args.count):
        picture, box = head(r, args.side)
        pictures.append((picture * 255 + 0.5).astype(np.uint8))
        boxes.append(box)
    np.savez(args.work / "heads.npz", pictures=np.stack(pictures), boxes=np.stack(boxes))


if __name__ == "__main__":
    main()
