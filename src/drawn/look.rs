//! Looks: the proportions and colours of one drawn person.

use serde::{Deserialize, Serialize};

use super::Error;

/// A colour, sRGB in [0, 1].
pub type Rgb = [f32; 3];

/// The proportions and colours of one drawn person. Lengths are head units: half the head's width
/// is about 0.78, the head is about 2.2 high, its origin lies between the ears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The look's name, as `--look` takes it.
    pub name: String,
    /// espeak-ng's name of the voice, such as `en-us` or `en-us+f3`.
    pub voice: String,
    /// Bone and flesh.
    pub shape: Shape,
    /// Colours.
    pub colour: Colour,
    /// Hair and beard.
    pub hair: Hair,
}

/// Proportions of the face, in head units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Half the jaw's width.
    pub jaw_width: f32,
    /// Half the jaw ellipsoid's height: greater makes a longer face.
    pub jaw_length: f32,
    /// From the midline to a pupil.
    pub eye_spacing: f32,
    /// Half the width of an eye's opening.
    pub eye_width: f32,
    /// Half the height of an open eye's opening.
    pub eye_height: f32,
    /// From the eyes' level down to the tip of the nose.
    pub nose_length: f32,
    /// Half the width of the nose.
    pub nose_width: f32,
    /// Half the width of the closed mouth.
    pub mouth_width: f32,
    /// Height of the lower lip; the upper one follows.
    pub lip_height: f32,
    /// From the eyes' level up to the brows.
    pub brow_height: f32,
    /// Half the thickness of the brows.
    pub brow_thickness: f32,
}

/// Colours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Colour {
    /// Skin.
    pub skin: Rgb,
    /// Lips.
    pub lips: Rgb,
    /// Iris.
    pub iris: Rgb,
    /// Hair of the head.
    pub hair: Rgb,
    /// Brows and lashes.
    pub brows: Rgb,
    /// The garment.
    pub garment: Rgb,
    /// The wall behind.
    pub wall: Rgb,
}

/// Hair and beard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hair {
    /// Thickness over the skull; 0 draws a shaved head.
    pub thickness: f32,
    /// How low it reaches beside the ears, as a y coordinate (ears span about -0.18 to 0.22).
    pub sides: f32,
    /// How low it reaches at the back, as a y coordinate.
    pub back: f32,
    /// How far it spreads below the ears: 0 is cut short, 0.25 falls in a bob.
    pub fall: f32,
    /// Where the parting lies, as an x coordinate.
    pub parting: f32,
    /// Strength of the beard's shadow in [0, 1].
    pub beard: f32,
}

/// The looks that come with the program.
const BUILT_IN: [&str; 4] = [
    include_str!("../../fixtures/drawn/amber.toml"),
    include_str!("../../fixtures/drawn/birch.toml"),
    include_str!("../../fixtures/drawn/cedar.toml"),
    include_str!("../../fixtures/drawn/dahlia.toml"),
];

impl Look {
    /// The built-in look called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownLook`] lists the names there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        let all = Self::built_in()?;
        let names = all.iter().map(|l| l.name.clone()).collect::<Vec<_>>().join(", ");
        all.into_iter()
            .find(|l| l.name == name)
            .ok_or_else(|| Error::UnknownLook { name: name.to_owned(), known: names })
    }

    /// Every built-in look.
    ///
    /// # Errors
    /// [`Error::BadLook`]; a test shows that it does not happen.
    pub fn built_in() -> Result<Vec<Self>, Error> {
        BUILT_IN.iter().map(|text| Self::from_toml(text)).collect()
    }

    /// Reads a look from TOML and checks that it can be drawn.
    ///
    /// # Errors
    /// [`Error::BadLook`] names the field that is missing, unknown or out of range.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let look: Self =
            toml::from_str(text).map_err(|e| Error::BadLook(e.message().to_owned()))?;
        look.check()?;
        Ok(look)
    }

    fn check(&self) -> Result<(), Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_".contains(c);
        if self.voice.is_empty() || self.voice.starts_with('-') || !self.voice.chars().all(plain) {
            return Err(Error::BadLook("voice must be a name such as en-us+f3".to_owned()));
        }
        let (s, h, c) = (&self.shape, &self.hair, &self.colour);
        let ranges = [
            ("shape.jaw_width", s.jaw_width, 0.45, 0.75),
            ("shape.jaw_length", s.jaw_length, 0.6, 0.95),
            ("shape.eye_spacing", s.eye_spacing, 0.24, 0.40),
            ("shape.eye_width", s.eye_width, 0.10, 0.20),
            ("shape.eye_height", s.eye_height, 0.04, 0.11),
            ("shape.nose_length", s.nose_length, 0.24, 0.46),
            ("shape.nose_width", s.nose_width, 0.10, 0.22),
            ("shape.mouth_width", s.mouth_width, 0.16, 0.34),
            ("shape.lip_height", s.lip_height, 0.03, 0.12),
            ("shape.brow_height", s.brow_height, 0.14, 0.30),
            ("shape.brow_thickness", s.brow_thickness, 0.01, 0.06),
            ("hair.thickness", h.thickness, 0.0, 0.3),
            ("hair.sides", h.sides, -0.6, 1.3),
            ("hair.back", h.back, -0.6, 1.3),
            ("hair.fall", h.fall, 0.0, 0.5),
            ("hair.parting", h.parting, -0.6, 0.6),
            ("hair.beard", h.beard, 0.0, 1.0),
        ];
        for (field, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::BadLook(format!("{field} must lie in {low}..={high}")));
            }
        }
        let colours = [
            ("skin", c.skin),
            ("lips", c.lips),
            ("iris", c.iris),
            ("hair", c.hair),
            ("brows", c.brows),
            ("garment", c.garment),
            ("wall", c.wall),
        ];
        for (field, value) in colours {
            if !value.iter().all(|v| (0.0..=1.0).contains(v)) {
                return Err(Error::BadLook(format!("colour.{field} must lie in 0..=1")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_look_is_sound_and_named_once() {
        let mut names: Vec<_> = Look::built_in().unwrap().into_iter().map(|l| l.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), BUILT_IN.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let e = Look::named("nobody").unwrap_err().to_string();
        assert!(e.contains("nobody") && e.contains("amber"), "{e}");
    }

    #[test]
    fn values_that_cannot_be_drawn_are_refused_by_name() {
        let text = BUILT_IN[0].replace("jaw_width = ", "jaw_width = 1");
        let e = Look::from_toml(&text).unwrap_err().to_string();
        assert!(e.contains("jaw_width"), "{e}");
        assert!(Look::from_toml("name = 'x'").is_err());
        assert!(Look::from_toml(&text.replace("jaw_width = 1", "jaw_width = nan #")).is_err());
    }
}
