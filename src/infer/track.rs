//! One face through the frames of a capture.
//!
//! The detector looks at a frame only where there is nothing to track, and twice a second to see
//! whether a second face is there or the mesh has drifted off; where it finds one, it looks again soon. Otherwise the mesh goes from frame
//! to frame: where it lay in the last one is where it looks in the next.

use super::Models;
use super::detect::{Detection, Detector};
use super::error::Error;
use super::facemesh::{FaceMesh, Mesh, Region};
use super::geometry::Area;
use super::picture::{Frame, Thumbnail, look};
use super::pose::pose;
use crate::domain::evidence::{FaceEvidence, FrameEvidence, ModelRole};

/// How often the detector looks while a face is tracked, in milliseconds.
const LOOK_AROUND_MS: i64 = 500;
/// How soon it looks again where it found several, in milliseconds: one sighting may be its mistake, and
/// whoever stays for the two of them is seen twice.
const LOOK_AGAIN_MS: i64 = 200;
/// How often the detector looks while there is no face, in milliseconds: a face is found within a
/// fifth of a second, and a capture without one costs little.
const SEARCH_MS: i64 = 200;
/// A tracked face that overlaps no found one by this much (intersection over union) has drifted.
const DRIFT_OVERLAP: f32 = 0.2;
/// Two boxes of one face in neighbouring frames overlap by more than this.
const JUMP_OVERLAP: f32 = 0.3;

/// What was seen in a frame.
#[derive(Debug)]
pub struct Seen {
    /// The frame's measurements.
    pub evidence: FrameEvidence,
    /// The tracked face, where there is one.
    pub face: Option<TrackedFace>,
}

/// The tracked face of a frame.
#[derive(Debug)]
pub struct TrackedFace {
    /// Its mesh, in pixels of the frame.
    pub mesh: Mesh,
    /// The box around the mesh, in pixels of the frame.
    pub area: Area,
    /// Whether it may be another face than in the frame before: the track was lost and found
    /// again, or the box jumped.
    pub fresh: bool,
}

/// Follows one face; a tracker belongs to one capture.
pub struct Tracker<'m> {
    detector: &'m Detector,
    mesh: &'m FaceMesh,
    region: Option<Region>,
    last_area: Option<Area>,
    last_thumbnail: Option<Thumbnail>,
    last_detection_ms: Option<i64>,
    found_several: bool,
}

impl std::fmt::Debug for Tracker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tracker(tracking: {})", self.region.is_some())
    }
}

impl<'m> Tracker<'m> {
    /// A tracker that has seen nothing.
    ///
    /// # Errors
    /// [`Error::RoleMissing`] where the detector or the mesh isn't installed.
    pub fn new(models: &'m Models) -> Result<Self, Error> {
        let missing = Error::RoleMissing;
        Ok(Self {
            detector: models.detector.as_ref().ok_or(missing(ModelRole::FaceDetector))?,
            mesh: models.mesh.as_ref().ok_or(missing(ModelRole::FaceMesh))?,
            region: None,
            last_area: None,
            last_thumbnail: None,
            last_detection_ms: None,
            found_several: false,
        })
    }

    /// Looks at the next frame.
    ///
    /// # Errors
    /// [`Error::Run`], [`Error::Picture`].
    pub fn see(&mut self, index: u32, t_ms: i64, frame: &Frame<'_>) -> Result<Seen, Error> {
        let thumbnail = Thumbnail::of(frame);
        let change = self.last_thumbnail.as_ref().map_or(0.0, |last| thumbnail.difference(last));
        self.last_thumbnail = Some(thumbnail);

        let was_tracking = self.region.is_some();
        let mut detected = None;
        let mut mesh = match self.region {
            Some(region) => self.mesh.place(frame, &region)?,
            None => None,
        };
        let around_ms = if self.found_several { LOOK_AGAIN_MS } else { LOOK_AROUND_MS };
        if mesh.is_none() || self.due(t_ms, around_ms) {
            // A track that breaks is worth a look at once, an empty scene only now and then.
            if was_tracking || self.due(t_ms, SEARCH_MS) {
                let faces = self.detector.detect(frame)?;
                self.last_detection_ms = Some(t_ms);
                detected = Some(faces.len() as u8);
                self.found_several = faces.len() > 1;
                if !mesh.as_ref().is_some_and(|m| is_among(&m.area(), &faces)) {
                    mesh = self.place_on(frame, &faces)?.or(mesh.filter(|_| faces.is_empty()));
                }
            }
        }
        let face = mesh.map(|m| self.follow(m, was_tracking));
        if face.is_none() {
            self.region = None;
            self.last_area = None;
        }
        let measured = face.as_ref().map(|f| measure(frame, f)).transpose()?;
        let evidence = FrameEvidence { index, t_ms, detected, face: measured, change };
        Ok(Seen { evidence, face })
    }

    fn due(&self, t_ms: i64, every_ms: i64) -> bool {
        self.last_detection_ms.is_none_or(|last| t_ms.saturating_sub(last) >= every_ms)
    }

    /// The mesh on the most prominent of some faces. The detector's eyes and box are coarse, so the
    /// mesh is placed twice: the second time where the first one says that the face is.
    fn place_on(&self, frame: &Frame<'_>, faces: &[Detection]) -> Result<Option<Mesh>, Error> {
        let prominence = |d: &Detection| d.score * d.area.width * d.area.height;
        let Some(best) = faces.iter().max_by(|a, b| prominence(a).total_cmp(&prominence(b))) else {
            return Ok(None);
        };
        let scale = self.mesh.crop_scale();
        let Some(coarse) = self.mesh.place(frame, &Region::around(best, scale))? else {
            return Ok(None);
        };
        Ok(self.mesh.place(frame, &coarse.region(scale))?.or(Some(coarse)))
    }

    fn follow(&mut self, mesh: Mesh, was_tracking: bool) -> TrackedFace {
        let area = mesh.area();
        let jumped = self.last_area.is_none_or(|last| last.overlap(&area) < JUMP_OVERLAP);
        self.region = Some(mesh.region(self.mesh.crop_scale()));
        self.last_area = Some(area);
        TrackedFace { mesh, area, fresh: !was_tracking || jumped }
    }
}

fn is_among(area: &Area, faces: &[Detection]) -> bool {
    faces.iter().any(|f| f.area.overlap(area) >= DRIFT_OVERLAP)
}

fn measure(frame: &Frame<'_>, face: &TrackedFace) -> Result<FaceEvidence, Error> {
    let (w, h) = (frame.width() as f32, frame.height() as f32);
    let (area, mesh) = (&face.area, &face.mesh);
    let look = look(frame, area)?;
    Ok(FaceEvidence {
        bbox: [area.left / w, area.top / h, area.width / w, area.height / h],
        presence: mesh.presence,
        pose: pose(mesh, frame)?,
        eye_open: mesh.eye_open(),
        mouth_open: mesh.mouth_open(),
        inter_eye_px: mesh.inter_eye(),
        brightness: look.brightness,
        contrast: look.contrast,
        sharpness: look.sharpness,
    })
}
