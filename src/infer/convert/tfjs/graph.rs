//! The JSON file of a graph model.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{ConvertError, MOST_NODES, malformed, unsupported};

/// The graph, and where each weight lies.
#[derive(Debug, Deserialize)]
pub(super) struct Graph {
    #[serde(rename = "modelTopology")]
    topology: Topology,
    #[serde(rename = "weightsManifest")]
    weights: Vec<WeightGroup>,
}

#[derive(Debug, Deserialize)]
struct Topology {
    node: Vec<Node>,
}

/// Weights that lie one after another in a file.
#[derive(Debug, Deserialize)]
struct WeightGroup {
    weights: Vec<WeightSpec>,
}

/// Name, shape and storage of one weight.
#[derive(Debug, Deserialize)]
pub(super) struct WeightSpec {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: String,
    pub(super) quantization: Option<Quantization>,
}

/// How a weight is stored in fewer bits.
#[derive(Debug, Deserialize)]
pub(super) struct Quantization {
    pub(super) dtype: String,
    pub(super) scale: Option<f32>,
    pub(super) min: Option<f32>,
}

/// One operation.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    #[serde(default)]
    input: Vec<String>,
    #[serde(default)]
    attr: BTreeMap<String, Value>,
}

/// An attribute, of which one field is set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Value {
    s: Option<String>,
    b: Option<bool>,
    list: Option<List>,
    shape: Option<Shape>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    i: Vec<Integer>,
    s: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    dim: Vec<Dimension>,
}

#[derive(Debug, Deserialize)]
struct Dimension {
    size: Integer,
}

/// An `int64`, which protobuf's JSON form writes as text and some writers as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Integer {
    Number(i64),
    Text(String),
}

/// What is fused into an operation.
#[derive(Debug, Default)]
pub(super) struct Fused<'a> {
    pub(super) bias: bool,
    pub(super) activation: Option<&'a str>,
}

impl Graph {
    pub(super) fn parse(json: &[u8]) -> Result<Self, ConvertError> {
        let graph: Self = serde_json::from_slice(json).map_err(|e| malformed(e.to_string()))?;
        if graph.topology.node.len() > MOST_NODES {
            return Err(unsupported(format!("more than {MOST_NODES} operations")));
        }
        Ok(graph)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.topology.node.iter()
    }

    /// Every weight, in the order of the weight files.
    pub(super) fn weights(&self) -> impl Iterator<Item = &WeightSpec> {
        self.weights.iter().flat_map(|g| &g.weights)
    }
}

impl Node {
    /// Name of the node behind the `i`th input, without the `:0` of its only output.
    pub(super) fn input(&self, i: usize) -> Result<&str, ConvertError> {
        let name = self
            .input
            .get(i)
            .ok_or_else(|| malformed(format!("{} lacks its input {i}", self.name)))?;
        match name.split_once(':') {
            None | Some((_, "0")) => Ok(name.split(':').next().unwrap_or(name)),
            Some(_) => Err(unsupported(format!("the second output of {name}"))),
        }
    }

    /// A flag; unset is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ConvertError> {
        match self.attr.get(name) {
            None => Ok(false),
            Some(v) => v.b.ok_or_else(|| self.lacks(name)),
        }
    }

    /// A shape; -1 stands for an open size.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<i64>, ConvertError> {
        let shape = self.attr.get(name).and_then(|v| v.shape.as_ref());
        shape.ok_or_else(|| self.lacks(name))?.dim.iter().map(|d| d.size.value()).collect()
    }

    /// The rows' and columns' values of an attribute with one value per axis (n, row, column,
    /// channel). Both must be at least 1.
    pub(super) fn image_axes(&self, name: &str) -> Result<Vec<i64>, ConvertError> {
        let list = self.attr.get(name).and_then(|v| v.list.as_ref());
        let values: Vec<i64> = list
            .ok_or_else(|| self.lacks(name))?
            .i
            .iter()
            .map(Integer::value)
            .collect::<Result<_, _>>()?;
        match values[..] {
            [1, rows, columns, 1] if rows >= 1 && columns >= 1 => Ok(vec![rows, columns]),
            _ => Err(unsupported(format!("{name} {values:?} in {}", self.name))),
        }
    }

    /// ONNX's name of the padding.
    pub(super) fn padding(&self) -> Result<&'static str, ConvertError> {
        match self.text("padding")?.as_slice() {
            b"SAME" => Ok("SAME_UPPER"),
            b"VALID" => Ok("VALID"),
            other => Err(unsupported(format!("the padding {}", String::from_utf8_lossy(other)))),
        }
    }

    /// Refuses any other axis order than (n, row, column, channel).
    pub(super) fn check_channels_last(&self) -> Result<(), ConvertError> {
        if !self.attr.contains_key("data_format") || self.text("data_format")? == b"NHWC" {
            Ok(())
        } else {
            Err(unsupported("images with the channels first"))
        }
    }

    /// What is fused into the operation: a bias, then at most one activation.
    pub(super) fn fused(&self) -> Result<Fused<'_>, ConvertError> {
        let Some(list) = self.attr.get("fused_ops").and_then(|v| v.list.as_ref()) else {
            return Ok(Fused::default());
        };
        let names: Vec<Vec<u8>> = list.s.iter().map(|s| decode(s)).collect::<Result<_, _>>()?;
        let mut names = names.iter().map(Vec::as_slice).peekable();
        let bias = names.next_if_eq(&b"BiasAdd".as_slice()).is_some();
        let activation = match names.next() {
            None => None,
            Some(b"Relu") => Some("Relu"),
            Some(b"Relu6") => Some("Relu6"),
            Some(b"Prelu") => Some("Prelu"),
            Some(other) => {
                let name = String::from_utf8_lossy(other);
                return Err(unsupported(format!("the fused operation {name}")));
            }
        };
        if names.next().is_some() {
            return Err(unsupported("two fused activations"));
        }
        Ok(Fused { bias, activation })
    }

    fn text(&self, name: &str) -> Result<Vec<u8>, ConvertError> {
        let text = self.attr.get(name).and_then(|v| v.s.as_ref());
        decode(text.ok_or_else(|| self.lacks(name))?)
    }

    fn lacks(&self, attribute: &str) -> ConvertError {
        malformed(format!("{} lacks its attribute {attribute}", self.name))
    }
}

impl Integer {
    fn value(&self) -> Result<i64, ConvertError> {
        match self {
            Self::Number(n) => Ok(*n),
            Self::Text(t) => t.parse().map_err(|_| malformed(format!("{t:?} is not a number"))),
        }
    }
}

/// Protobuf's JSON form writes bytes in base64.
fn decode(text: &str) -> Result<Vec<u8>, ConvertError> {
    BASE64_STANDARD.decode(text).map_err(|_| malformed(format!("{text:?} is not base64")))
}
