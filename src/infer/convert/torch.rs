//! A `PyTorch` checkpoint of a speaker encoder to ONNX: stacked LSTM layers over a mel spectrogram,
//! a linear layer with a rectifier over the last hidden state, and normalisation to unit length
//! (Wan et al. 2018).
//!
//! The file is in the format of `torch.save` before version 1.6: three pickles (magic number,
//! protocol version, machine), the object, the list of storages, then each storage's length and
//! values. It is read as data; nothing in it is executed ([`super::pickle`]).

use std::collections::HashMap;

use super::ConvertError;
use super::onnx::{Attribute, Axis, GraphBuilder, Port};
use super::pickle::{Pickle, Value};
use super::reader::Reader;

const FORMAT: &str = "PyTorch checkpoint";

/// `torch.serialization.MAGIC_NUMBER`, least significant byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// The names that a checkpoint of plain tensors mentions.
const GLOBALS: [(&str, &str); 3] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch", "FloatStorage"),
];

/// Most LSTM layers.
const MOST_LAYERS: usize = 16;

/// Converts the file. Input `mel`: (n, frames, bands); output `embedding`: (n, dimensions).
pub(super) fn convert(file: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let state = Checkpoint::read(file)?;
    let mut graph = GraphBuilder::default();
    let (mut hidden, mut width) = ("mel".to_owned(), 0);
    let mut bands = 0;
    // ONNX's LSTM wants time first.
    let time_first = ("perm", Attribute::Ints(vec![1, 0, 2]));
    let mut x = graph.op("Transpose", &["mel"], &[time_first]);
    let layers = (0..=MOST_LAYERS)
        .position(|l| !state.has(&format!("lstm.weight_ih_l{l}")))
        .filter(|n| *n > 0)
        .ok_or_else(|| malformed(format!("it does not have 1 to {MOST_LAYERS} LSTM layers")))?;
    for layer in 0..layers {
        let input = state.tensor(&format!("lstm.weight_ih_l{layer}"))?;
        let [gates, from] = input.shape()?;
        let size = gates / 4;
        if layer == 0 {
            bands = from;
        } else if from != width {
            return Err(malformed("an LSTM layer does not fit the one before it"));
        }
        let recurrent = state.tensor(&format!("lstm.weight_hh_l{layer}"))?;
        let bias = [
            state.tensor(&format!("lstm.bias_ih_l{layer}"))?,
            state.tensor(&format!("lstm.bias_hh_l{layer}"))?,
        ];
        let fits = size > 0
            && gates == 4 * size
            && recurrent.shape == [gates, size]
            && bias.iter().all(|b| b.shape == [gates]);
        if !fits {
            return Err(malformed("an LSTM layer's weights do not fit each other"));
        }
        let w = graph.floats(&[1, gates, from], &input.gates_for_onnx())?;
        let r = graph.floats(&[1, gates, size], &recurrent.gates_for_onnx())?;
        let bias = [bias[0].gates_for_onnx(), bias[1].gates_for_onnx()].concat();
        let b = graph.floats(&[1, 2 * gates], &bias)?;
        let all = format!("sequence{layer}");
        hidden = format!("hidden{layer}");
        let attributes = [("hidden_size", Attribute::Int(size as i64))];
        graph.op_named("LSTM", &[&x, &w, &r, &b], &attributes, &[&all, &hidden]);
        if layer + 1 < layers {
            // One direction: (frames, 1, n, size) to (frames, n, size).
            let direction = graph.ints(&[1])?;
            x = graph.op("Squeeze", &[&all, &direction], &[]);
        }
        width = size;
    }
    let direction = graph.ints(&[0])?;
    let last = graph.op("Squeeze", &[&hidden, &direction], &[]);
    let (weight, bias) = (state.tensor("linear.weight")?, state.tensor("linear.bias")?);
    let [dimensions, from] = weight.shape()?;
    if from != width || bias.shape != [dimensions] {
        return Err(malformed("the linear layer does not fit the LSTM"));
    }
    let w = graph.floats(&[dimensions, from], &weight.values)?;
    let b = graph.floats(&[dimensions], &bias.values)?;
    let y = graph.op("Gemm", &[&last, &w, &b], &[("transB", Attribute::Int(1))]);
    let y = graph.op("Relu", &[&y], &[]);
    let norm = [("axis", Attribute::Int(1)), ("p", Attribute::Int(2))];
    graph.op_named("LpNormalization", &[&y], &norm, &["embedding"]);

    let fixed = |n: usize| Axis::Fixed(n as i64);
    let mel = vec![Axis::Named("n"), Axis::Named("frames"), fixed(bands)];
    let embedding = vec![Axis::Named("n"), fixed(dimensions)];
    Ok(graph.finish(
        "voice_encoder",
        &[Port { name: "mel".into(), shape: mel }],
        &[Port { name: "embedding".into(), shape: embedding }],
    ))
}

/// A dense tensor of `f32`.
#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    fn shape<const N: usize>(&self) -> Result<[usize; N], ConvertError> {
        self.shape
            .as_slice()
            .try_into()
            .map_err(|_| malformed(format!("a tensor does not have {N} axes")))
    }

    /// The rows in ONNX's order of gates (input, output, forget, cell) instead of `PyTorch`'s
    /// (input, forget, cell, output).
    fn gates_for_onnx(&self) -> Vec<f32> {
        let gate = self.values.len() / 4;
        [0, 3, 1, 2]
            .into_iter()
            .flat_map(|g| &self.values[g * gate..(g + 1) * gate])
            .copied()
            .collect()
    }
}

/// The state dictionary (`model_state`) of a checkpoint.
struct Checkpoint<'a> {
    object: Pickle,
    /// Values of each storage, by key.
    storages: HashMap<String, &'a [u8]>,
}

impl<'a> Checkpoint<'a> {
    fn read(file: &'a [u8]) -> Result<Self, ConvertError> {
        if file.starts_with(b"PK") {
            return Err(unsupported("the zip format of PyTorch 1.6 and later"));
        }
        let mut reader = Reader::new(file, FORMAT);
        let magic = Pickle::read(&mut reader, &[])?;
        if *magic.root() != Value::Long(MAGIC.to_vec()) {
            return Err(malformed("it does not begin with PyTorch's magic number"));
        }
        let protocol = Pickle::read(&mut reader, &[])?;
        if *protocol.root() != Value::Int(PROTOCOL) {
            return Err(unsupported("another protocol than 1001"));
        }
        let machine = Pickle::read(&mut reader, &[])?;
        if machine.item(machine.root(), "little_endian") != Some(&Value::Bool(true)) {
            return Err(unsupported("numbers whose most significant byte comes first"));
        }
        let object = Pickle::read(&mut reader, &GLOBALS)?;
        let keys = Pickle::read(&mut reader, &[])?;
        let keys =
            keys.elements(keys.root()).ok_or_else(|| malformed("the storages are not a list"))?;
        let mut storages = HashMap::new();
        for key in keys {
            let Value::Text(key) = key else {
                return Err(malformed("a storage's key is no text"));
            };
            let length = u64::from_le_bytes(reader.array("a storage's length")?);
            let bytes = usize::try_from(length).ok().and_then(|n| n.checked_mul(4));
            let bytes = bytes.ok_or_else(|| malformed("a storage's length is not a number"))?;
            storages.insert(key.clone(), reader.take(bytes, "a storage")?);
        }
        Ok(Self { object, storages })
    }

    fn entry(&self, name: &str) -> Option<&Value> {
        let state = self.object.item(self.object.root(), "model_state")?;
        self.object.item(state, name)
    }

    fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ConvertError> {
        let value = self.entry(name).ok_or_else(|| malformed(format!("it has no {name}")))?;
        self.rebuilt(value)
            .ok_or_else(|| malformed(format!("{name} is not a dense tensor of f32")))?
    }

    /// `_rebuild_tensor_v2((storage, offset, size, stride, …))`; `None` where it isn't that.
    fn rebuilt(&self, value: &Value) -> Option<Result<Tensor, ConvertError>> {
        let Value::Call(callee, arguments) = value else { return None };
        let Value::Global(_, function) = self.object.get(*callee) else { return None };
        if function != "_rebuild_tensor_v2" {
            return None;
        }
        let arguments = self.object.elements(self.object.get(*arguments))?;
        let [Value::Persistent(storage), Value::Int(offset), size, stride, ..] = arguments[..]
        else {
            return None;
        };
        // ("storage", storage type, key, device, length, view)
        let storage = self.object.elements(self.object.get(*storage))?;
        let [Value::Text(_), Value::Global(_, kind), Value::Text(key), ..] = storage[..] else {
            return None;
        };
        if kind != "FloatStorage" {
            return None;
        }
        let shape = self.sizes(size)?;
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
        if self.sizes(stride)? != row_major(&shape) {
            return None;
        }
        let start = usize::try_from(*offset).ok()?.checked_mul(4)?;
        let bytes = self.storages.get(key)?.get(start..)?;
        let values = Reader::new(bytes, FORMAT).floats(count, "a tensor's values");
        Some(values.map(|values| Tensor { shape, values }))
    }

    fn sizes(&self, value: &Value) -> Option<Vec<usize>> {
        let sizes = self.object.elements(value)?;
        sizes
            .into_iter()
            .map(|v| match v {
                Value::Int(n) => usize::try_from(*n).ok(),
                _ => None,
            })
            .collect()
    }
}

/// The strides of a dense tensor whose last axis varies fastest. Sizes whose product overflows
/// have none; the caller has ruled them out.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::Malformed { format: FORMAT, problem: problem.into() }
}

fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes the pickles that `torch.save` would, for tensors of ascending values.
    struct Writer {
        object: Vec<u8>,
        keys: Vec<u8>,
        storages: Vec<u8>,
    }

    impl Writer {
        fn text(out: &mut Vec<u8>, text: &str) {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }

        fn int(out: &mut Vec<u8>, n: usize) {
            out.push(b'J');
            out.extend((n as u32).to_le_bytes());
        }

        fn tensor(&mut self, name: &str, shape: &[usize]) {
            let o = &mut self.object;
            Self::text(o, name);
            o.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            Self::text(o, "storage");
            o.extend(b"ctorch\nFloatStorage\n");
            Self::text(o, name);
            Self::text(o, "cpu");
            let count: usize = shape.iter().product();
            Self::int(o, count);
            o.extend(b"NtQK\x00");
            for numbers in [shape.to_vec(), row_major(shape)] {
                o.push(b'(');
                for n in numbers {
                    Self::int(o, n);
                }
                o.push(b't');
            }
            o.extend(b"\x89NtR");
            Self::text(&mut self.keys, name);
            self.storages.extend((count as u64).to_le_bytes());
            self.storages.extend((0..count).flat_map(|i| (i as f32).to_le_bytes()));
        }

        fn file(self) -> Vec<u8> {
            let mut out = b"\x80\x02\x8a\x0a".to_vec();
            out.extend(MAGIC);
            out.extend(b".\x80\x02M\xe9\x03.\x80\x02}(");
            Self::text(&mut out, "little_endian");
            out.extend(b"\x88u.\x80\x02}(");
            Self::text(&mut out, "model_state");
            out.extend(b"ccollections\nOrderedDict\n)R(");
            out.extend(self.object);
            out.extend(b"uu.\x80\x02](");
            out.extend(self.keys);
            out.extend(b"e.");
            out.extend(self.storages);
            out
        }
    }

    /// Two layers of width 2 over 3 bands, 5 dimensions.
    fn file(change: impl Fn(&str, Vec<usize>) -> Vec<usize>) -> Vec<u8> {
        let mut w = Writer { object: vec![], keys: vec![], storages: vec![] };
        let shapes: [(&str, &[usize]); 10] = [
            ("lstm.weight_ih_l0", &[8, 3]),
            ("lstm.weight_hh_l0", &[8, 2]),
            ("lstm.bias_ih_l0", &[8]),
            ("lstm.bias_hh_l0", &[8]),
            ("lstm.weight_ih_l1", &[8, 2]),
            ("lstm.weight_hh_l1", &[8, 2]),
            ("lstm.bias_ih_l1", &[8]),
            ("lstm.bias_hh_l1", &[8]),
            ("linear.weight", &[5, 2]),
            ("linear.bias", &[5]),
        ];
        for (name, shape) in shapes {
            w.tensor(name, &change(name, shape.to_vec()));
        }
        w.file()
    }

    fn as_is(_: &str, shape: Vec<usize>) -> Vec<usize> {
        shape
    }

    #[test]
    fn a_checkpoint_converts_the_same_every_time() {
        let first = convert(&file(as_is)).unwrap();
        assert_eq!(convert(&file(as_is)).unwrap(), first);
        assert!(String::from_utf8_lossy(&first).contains("LpNormalization"));
    }

    #[test]
    fn gates_change_their_order() {
        let t = Tensor { shape: vec![4, 2], values: (0..8_u8).map(f32::from).collect() };
        assert_eq!(t.gates_for_onnx(), [0., 1., 6., 7., 2., 3., 4., 5.]);
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let wrong = |at: &'static str, to: &'static [usize]| {
            convert(&file(|name, shape| if name == at { to.to_vec() } else { shape }))
        };
        for (at, to) in [
            ("lstm.weight_ih_l0", &[9, 3][..]),
            ("lstm.weight_ih_l0", &[0, 3]),
            ("lstm.weight_ih_l1", &[8, 7]),
            ("lstm.weight_hh_l0", &[8]),
            ("lstm.bias_ih_l1", &[4]),
            ("linear.weight", &[5, 9]),
            ("linear.bias", &[1]),
        ] {
            assert!(matches!(wrong(at, to), Err(ConvertError::Malformed { .. })), "{at} {to:?}");
        }
    }

    #[test]
    fn a_cut_file_is_refused() {
        let whole = file(as_is);
        for cut in 0..whole.len() {
            assert!(convert(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(convert(b"PK\x03\x04").unwrap_err().to_string().contains("zip format"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_converted_or_refused(bytes: Vec<u8>) {
            let _ = convert(&bytes);
        }

        #[test]
        fn a_damaged_file_is_converted_or_refused(at: prop::sample::Index, value: u8) {
            let mut bytes = file(as_is);
            let i = at.index(bytes.len());
            bytes[i] = value;
            let _ = convert(&bytes);
        }
    }
}
