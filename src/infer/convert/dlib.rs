//! dlib's face recognition network (`dlib_face_recognition_resnet_model_v1.dat`) to ONNX.
//!
//! The architecture is that of dlib's `dnn_face_recognition_ex.cpp`: a residual network of 29 convolutions,
//! each followed by an affine layer, and one fully connected layer of 128 outputs. The file holds
//! the network as nested C++ objects; between the records of the layers with weights lies
//! bookkeeping that inference does not need, so those records are found by their tags (`con_4`,
//! `affine_`, `fc_2`: length-prefixed strings), in order from input to output, and each must have
//! exactly the size that the architecture gives it.

use super::ConvertError;
use super::onnx::{Attribute, Axis, GraphBuilder, Port};
use super::reader::Reader;

const FORMAT: &str = "dlib network";

/// Side of the input in pixels.
const SIDE: i64 = 150;

/// Length of the embedding.
const DIMENSIONS: usize = 128;

/// Mean of the training images (red, green, blue) and divisor: dlib's `input_rgb_image_sized`.
const MEAN: [f32; 3] = [122.782, 117.001, 104.298];
const SCALE: f32 = 1.0 / 256.0;

/// The stages of the network: channels, and blocks after the one that halves the image (the first
/// stage has none such).
const STAGES: [(usize, usize); 5] = [(32, 3), (64, 3), (128, 2), (256, 2), (256, 0)];

/// Converts the file. Input `image`: (n, 3, 150, 150), RGB from 0 to 255; output `embedding`:
/// (n, 128).
pub(super) fn convert(file: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let mut net = Network { layers: Layers::new(file), graph: GraphBuilder::default() };
    let mean = net.graph.floats(&[1, 3, 1, 1], &MEAN)?;
    let scale = net.graph.floats(&[], &[SCALE])?;
    let x = net.graph.op("Sub", &["image", &mean], &[]);
    let x = net.graph.op("Mul", &[&x, &scale], &[]);
    let x =
        net.convolution(&x, &Convolution { from: 3, to: STAGES[0].0, side: 7, stride: 2, pad: 0 })?;
    let x = net.relu(&x);
    let mut x = net.graph.op("MaxPool", &[&x], &[ints("kernel_shape", 3), ints("strides", 2)]);
    // Side after the first convolution (7, stride 2) and the pooling (3, stride 2).
    let mut side = ((SIDE - 7) / 2 + 1 - 3) / 2 + 1;
    let mut channels = STAGES[0].0;
    for (stage, (to, blocks)) in STAGES.into_iter().enumerate() {
        if stage > 0 {
            (x, side) = net.downsampling(&x, channels, to, side)?;
            channels = to;
        }
        for _ in 0..blocks {
            x = net.residual(&x, channels)?;
        }
    }
    let axes = net.graph.ints(&[2, 3])?;
    let x = net.graph.op("ReduceMean", &[&x, &axes], &[("keepdims", Attribute::Int(0))]);
    let weights = net.layers.fully_connected(channels, DIMENSIONS)?;
    let w = net.graph.floats(&[channels, DIMENSIONS], &weights)?;
    net.graph.op_named("MatMul", &[&x, &w], &[], &["embedding"]);
    net.layers.end()?;

    let fixed = |n: i64| Axis::Fixed(n);
    let image = vec![Axis::Named("n"), fixed(3), fixed(SIDE), fixed(SIDE)];
    let embedding = vec![Axis::Named("n"), fixed(DIMENSIONS as i64)];
    Ok(net.graph.finish(
        "dlib_resnet",
        &[Port { name: "image".into(), shape: image }],
        &[Port { name: "embedding".into(), shape: embedding }],
    ))
}

/// The graph so far and the layers still to come.
struct Network<'a> {
    layers: Layers<'a>,
    graph: GraphBuilder,
}

/// The shape of a convolution with a square kernel.
struct Convolution {
    from: usize,
    to: usize,
    side: usize,
    stride: i64,
    pad: i64,
}

impl Network<'_> {
    /// A convolution and the affine layer that follows it.
    fn convolution(&mut self, x: &str, c: &Convolution) -> Result<String, ConvertError> {
        let parameters = self.layers.convolution(c)?;
        let (weights, bias) = parameters.split_at(parameters.len() - c.to);
        let w = self.graph.floats(&[c.to, c.from, c.side, c.side], weights)?;
        let b = self.graph.floats(&[c.to], bias)?;
        let attributes = [
            ints("kernel_shape", c.side as i64),
            ints("strides", c.stride),
            ("pads", Attribute::Ints(vec![c.pad; 4])),
        ];
        let x = self.graph.op("Conv", &[x, &w, &b], &attributes);
        let parameters = self.layers.affine(c.to)?;
        let (gain, bias) = parameters.split_at(c.to);
        let gain = self.graph.floats(&[1, c.to, 1, 1], gain)?;
        let bias = self.graph.floats(&[1, c.to, 1, 1], bias)?;
        let x = self.graph.op("Mul", &[&x, &gain], &[]);
        Ok(self.graph.op("Add", &[&x, &bias], &[]))
    }

    fn relu(&mut self, x: &str) -> String {
        self.graph.op("Relu", &[x], &[])
    }

    /// Two convolutions of side 3, the first with `stride`.
    fn block(
        &mut self,
        x: &str,
        from: usize,
        to: usize,
        stride: i64,
    ) -> Result<String, ConvertError> {
        let pad = i64::from(stride == 1);
        let x = self.convolution(x, &Convolution { from, to, side: 3, stride, pad })?;
        let x = self.relu(&x);
        self.convolution(&x, &Convolution { from: to, to, side: 3, stride: 1, pad: 1 })
    }

    fn residual(&mut self, x: &str, channels: usize) -> Result<String, ConvertError> {
        let y = self.block(x, channels, channels, 1)?;
        let sum = self.graph.op("Add", &[&y, x], &[]);
        Ok(self.relu(&sum))
    }

    /// A block that halves the image, added to the image's own 2 x 2 average. Where the two differ
    /// in size, dlib's `add_prev_` fills the smaller up with zeros (at the end of each axis).
    fn downsampling(
        &mut self,
        x: &str,
        from: usize,
        to: usize,
        side: i64,
    ) -> Result<(String, i64), ConvertError> {
        let block = self.block(x, from, to, 2)?;
        let average =
            self.graph.op("AveragePool", &[x], &[ints("kernel_shape", 2), ints("strides", 2)]);
        let (block_side, average_side) = ((side - 3) / 2 + 1, (side - 2) / 2 + 1);
        let side = block_side.max(average_side);
        let block = self.filled_up(&block, 0, side - block_side)?;
        let average = self.filled_up(&average, (to - from) as i64, side - average_side)?;
        let sum = self.graph.op("Add", &[&average, &block], &[]);
        Ok((self.relu(&sum), side))
    }

    fn filled_up(&mut self, x: &str, channels: i64, side: i64) -> Result<String, ConvertError> {
        if channels == 0 && side == 0 {
            return Ok(x.to_owned());
        }
        let pads = self.graph.ints(&[0, 0, 0, 0, 0, channels, side, side])?;
        Ok(self.graph.op("Pad", &[x, &pads], &[]))
    }
}

/// The same value for both image axes.
fn ints(name: &'static str, value: i64) -> (&'static str, Attribute) {
    (name, Attribute::Ints(vec![value; 2]))
}

/// The records of the layers with weights, in order from input to output.
struct Layers<'a> {
    reader: Reader<'a>,
}

impl<'a> Layers<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self { reader: Reader::new(file, FORMAT) }
    }

    /// Parameters of the next convolution: the weights (`to`, `from`, side, side), then the bias.
    fn convolution(&mut self, c: &Convolution) -> Result<Vec<f32>, ConvertError> {
        self.expect(b"con_")?;
        let parameters = tensor(&mut self.reader, c.to * c.from * c.side * c.side + c.to)?;
        let shape =
            (integer(&mut self.reader)?, integer(&mut self.reader)?, integer(&mut self.reader)?);
        let stride = integer(&mut self.reader)?;
        if shape != (c.to as i64, c.side as i64, c.side as i64) || stride != c.stride {
            return Err(self
                .reader
                .malformed("a convolution has another shape than the network's"));
        }
        Ok(parameters)
    }

    /// Parameters of the next affine layer: the gain, then the bias.
    fn affine(&mut self, channels: usize) -> Result<Vec<f32>, ConvertError> {
        self.expect(b"affine_")?;
        tensor(&mut self.reader, 2 * channels)
    }

    /// Weights (`from`, `to`) of the next fully connected layer, which has no bias.
    fn fully_connected(&mut self, from: usize, to: usize) -> Result<Vec<f32>, ConvertError> {
        self.expect(b"fc_")?;
        let shape = (integer(&mut self.reader)?, integer(&mut self.reader)?);
        if shape != (to as i64, from as i64) {
            return Err(self
                .reader
                .malformed("the last layer has another shape than the network's"));
        }
        tensor(&mut self.reader, from * to)
    }

    /// There must be no further layer.
    fn end(mut self) -> Result<(), ConvertError> {
        match self.next_tag() {
            None => Ok(()),
            Some(_) => Err(self.reader.malformed("it has more layers than the network")),
        }
    }

    fn expect(&mut self, kind: &[u8]) -> Result<(), ConvertError> {
        let tag =
            self.next_tag().ok_or(ConvertError::Truncated { format: FORMAT, wanted: "a layer" })?;
        if tag.starts_with(kind) {
            Ok(())
        } else {
            Err(self.reader.malformed("its layers come in another order than the network's"))
        }
    }

    /// Skips to the record of the next layer with weights; answers its tag.
    fn next_tag(&mut self) -> Option<&'a [u8]> {
        let rest = self.reader.rest();
        let (at, tag) = (0..rest.len()).find_map(|i| Some((i, tag(&rest[i..])?)))?;
        // A tag's record is its length's two bytes and the tag.
        self.reader.take(at + 2 + tag.len(), "a layer").ok()?;
        Some(tag)
    }
}

/// The tag that `bytes` begin with: a length-prefixed string `con_`, `affine_` or `fc_` with at
/// most one digit behind.
fn tag(bytes: &[u8]) -> Option<&[u8]> {
    let [1, length, text @ ..] = bytes else { return None };
    let text = text.get(..usize::from(*length))?;
    let name = match text {
        [name @ .., digit] if digit.is_ascii_digit() => name,
        name => name,
    };
    matches!(name, b"con_" | b"affine_" | b"fc_").then_some(text)
}

/// A tensor of `n` numbers: version 2, four dimensions, the values.
fn tensor(r: &mut Reader<'_>, n: usize) -> Result<Vec<f32>, ConvertError> {
    if integer(r)? != 2 {
        return Err(r.malformed("a tensor is of another version than 2"));
    }
    let mut size = 1_i64;
    for _ in 0..4 {
        let d = integer(r)?;
        size = size
            .checked_mul(d)
            .filter(|s| *s >= 0)
            .ok_or_else(|| r.malformed("a tensor's size is not a number"))?;
    }
    if size != n as i64 {
        return Err(r.malformed(format!("a layer has {size} weights where the network has {n}")));
    }
    r.floats(n, "a layer's weights")
}

/// dlib's variable-length integer: a control byte (low four bits: number of bytes; high bit:
/// negative), then the magnitude, least significant byte first.
fn integer(r: &mut Reader<'_>) -> Result<i64, ConvertError> {
    let control = r.byte("a number")?;
    let length = usize::from(control & 0x0f);
    if control & 0x70 != 0 || length > 8 {
        return Err(r.malformed("a number has an impossible length"));
    }
    let mut bytes = [0; 8];
    bytes[..length].copy_from_slice(r.take(length, "a number")?);
    let magnitude = i64::try_from(u64::from_le_bytes(bytes))
        .map_err(|_| r.malformed("a number is too large"))?;
    Ok(if control & 0x80 == 0 { magnitude } else { -magnitude })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn number(v: i64) -> Vec<u8> {
        let mut out = vec![if v < 0 { 0x84 } else { 4 }];
        out.extend((v.unsigned_abs() as u32).to_le_bytes());
        out
    }

    fn record(out: &mut Vec<u8>, tag: &str, before: &[i64], shape: [i64; 4], after: &[i64]) {
        out.extend([1, tag.len() as u8]);
        out.extend(tag.as_bytes());
        let numbers = |v: &[i64]| v.iter().flat_map(|x| number(*x)).collect::<Vec<_>>();
        out.extend(numbers(before));
        out.extend(numbers(&[2]));
        out.extend(numbers(&shape));
        out.extend((0..shape.iter().product()).flat_map(|i: i64| ((i % 7) as f32).to_le_bytes()));
        out.extend(numbers(after));
        out.extend([9; 5]); // bookkeeping
    }

    /// A file of the network's layout with made-up weights.
    fn file() -> Vec<u8> {
        let mut out = b"bookkeeping".to_vec();
        let mut layer = |from: i64, to: i64, side: i64, stride: i64| {
            let n = to * from * side * side + to;
            record(&mut out, "con_4", &[], [n, 1, 1, 1], &[to, side, side, stride]);
            record(&mut out, "affine_", &[], [2 * to, 1, 1, 1], &[]);
        };
        layer(3, 32, 7, 2);
        let mut from = 32;
        for (stage, (to, blocks)) in STAGES.into_iter().enumerate() {
            if stage > 0 {
                layer(from, to as i64, 3, 2);
                layer(to as i64, to as i64, 3, 1);
                from = to as i64;
            }
            for _ in 0..2 * blocks {
                layer(from, from, 3, 1);
            }
        }
        record(&mut out, "fc_2", &[128, 256], [256, 128, 1, 1], &[]);
        out
    }

    #[test]
    fn a_whole_file_converts_and_a_cut_one_does_not() {
        let whole = file();
        assert!(convert(&whole).is_ok());
        assert_eq!(convert(&whole), convert(&whole));
        for cut in [0, 5, 20, 1000, whole.len() / 2, whole.len() - 6] {
            assert!(
                matches!(convert(&whole[..cut]), Err(ConvertError::Truncated { .. })),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_layer_too_many_or_of_another_shape_is_refused() {
        let mut more = file();
        record(&mut more, "affine_", &[], [4, 1, 1, 1], &[]);
        assert!(convert(&more).unwrap_err().to_string().contains("more layers"));
        let mut other = file();
        // The first layer's stride stands behind its 4,736 weights.
        let at = 11 + 7 + 5 * 5 + 4736 * 4 + 3 * 5;
        assert_eq!(other[at..at + 2], [4, 2]);
        other[at + 1] = 3;
        assert!(convert(&other).unwrap_err().to_string().contains("another shape"));
    }

    #[test]
    fn numbers_follow_dlibs_rules() {
        let read = |b: &[u8]| integer(&mut Reader::new(b, FORMAT));
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[1, 200]), Ok(200));
        assert_eq!(read(&[0x82, 0, 1]), Ok(-256));
        assert!(read(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(read(&[8, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_converted_or_refused(bytes: Vec<u8>) {
            let _ = convert(&bytes);
        }

        #[test]
        fn a_damaged_head_is_converted_or_refused(at in 0_usize..60, value: u8) {
            // The first two layers are enough; the file is cut behind them.
            let mut bytes = HEAD.clone();
            bytes[at] = value;
            let _ = convert(&bytes);
        }
    }

    static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| file()[..60_000].to_vec());
}
