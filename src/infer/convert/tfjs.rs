//! `TensorFlow.js` graph models to ONNX.
//!
//! A graph model is a JSON file (the graph, and where each weight lies) and a binary file with the
//! weights one after another ([`weights`]). Image tensors are (n, row, column, channel) there and
//! (n, channel, row, column) in ONNX: the converter transposes once behind the input, permutes the
//! weights, and transposes back only where a tensor leaves the image world (a reshape or an
//! output).

mod graph;
mod weights;

use std::collections::HashMap;

use graph::{Graph, Node};
use weights::Weights;

use super::ConvertError;
use super::onnx::{Attribute, Axis, GraphBuilder, Port};
use crate::infer::manifest::Rename;

const FORMAT: &str = "TensorFlow.js graph model";

/// Most nodes of a graph.
const MOST_NODES: usize = 20_000;

/// Converts a graph model with one image input. The input, (1, height, width, channels), gets the
/// name `input`; `outputs` selects, orders and names the outputs, whose shapes stay as they are in
/// the source.
pub(super) fn convert(
    topology: &[u8],
    weights: &[u8],
    input: &str,
    outputs: &[Rename],
) -> Result<Vec<u8>, ConvertError> {
    let graph = Graph::parse(topology)?;
    let weights = Weights::read(&graph, weights)?;
    let mut converter = Converter {
        weights,
        onnx: GraphBuilder::default(),
        values: HashMap::new(),
        input_name: input,
        input_shape: None,
    };
    for node in graph.nodes() {
        converter.node(node)?;
    }
    let mut ports = Vec::new();
    for output in outputs {
        let value = converter.value(&output.from)?;
        match value.layout {
            Layout::Image => {
                let perm = ("perm", Attribute::Ints(vec![0, 2, 3, 1]));
                converter.onnx.op_named("Transpose", &[&value.tensor], &[perm], &[&output.to]);
            }
            Layout::AsIs => {
                converter.onnx.op_named("Identity", &[&value.tensor], &[], &[&output.to]);
            }
        }
        ports.push(Port { name: output.to.clone(), shape: value.axes });
    }
    let shape = converter.input_shape.ok_or_else(|| malformed("it has no input"))?;
    let axes = shape.into_iter().map(Axis::Fixed).collect();
    let inputs = [Port { name: input.to_owned(), shape: axes }];
    Ok(converter.onnx.finish("tfjs", &inputs, &ports))
}

/// How a tensor's axes lie in the ONNX graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// An image: (n, channel, row, column).
    Image,
    /// As in the source.
    AsIs,
}

/// A tensor of the ONNX graph.
#[derive(Clone, Debug)]
struct Value {
    tensor: String,
    layout: Layout,
    /// What is known of its size, in the source's order of axes.
    axes: Vec<Axis>,
}

impl Value {
    fn image(tensor: String) -> Self {
        Self { tensor, layout: Layout::Image, axes: vec![Axis::Open; 4] }
    }
}

struct Converter<'a> {
    weights: Weights<'a>,
    onnx: GraphBuilder,
    /// By the name of the source's node.
    values: HashMap<&'a str, Value>,
    input_name: &'a str,
    input_shape: Option<Vec<i64>>,
}

impl<'a> Converter<'a> {
    fn node(&mut self, n: &'a Node) -> Result<(), ConvertError> {
        let value = match n.op.as_str() {
            "Const" | "NoOp" => return Ok(()),
            "Placeholder" => self.placeholder(n)?,
            "Identity" if self.weights.has(n.input(0)?) => {
                return self.weights.alias(&n.name, n.input(0)?);
            }
            "Identity" => self.value(n.input(0)?)?,
            "Conv2D" | "_FusedConv2D" => self.convolution(n, false)?,
            "DepthwiseConv2dNative" | "FusedDepthwiseConv2dNative" => self.convolution(n, true)?,
            "MaxPool" => self.pool(n, "MaxPool")?,
            "Pad" => self.pad(n)?,
            "Add" | "AddV2" | "BiasAdd" => self.elementwise(n, "Add")?,
            "Sub" => self.elementwise(n, "Sub")?,
            "Mul" => self.elementwise(n, "Mul")?,
            "Minimum" | "Min" => self.elementwise(n, "Min")?,
            "Maximum" | "Max" => self.elementwise(n, "Max")?,
            "Relu" => self.unary(n, "Relu")?,
            "Sigmoid" => self.unary(n, "Sigmoid")?,
            "Prelu" => {
                let x = self.image(n.input(0)?)?;
                let tensor = self.prelu(&x, n.input(1)?)?;
                Value::image(tensor)
            }
            "Softmax" => self.softmax(n)?,
            "Reshape" => self.reshape(n)?,
            "Mean" => self.mean(n)?,
            "MatMul" | "_FusedMatMul" => self.matrix_product(n)?,
            other => return Err(unsupported(format!("the operation {other} ({})", n.name))),
        };
        self.values.insert(&n.name, value);
        Ok(())
    }

    fn placeholder(&mut self, n: &Node) -> Result<Value, ConvertError> {
        if self.input_shape.is_some() {
            return Err(unsupported("more than one input"));
        }
        let mut shape = n.shape("shape")?;
        if shape.len() != 4 || shape[1..].iter().any(|d| *d < 1) {
            return Err(unsupported("an input that is not an image of fixed size"));
        }
        shape[0] = 1;
        self.input_shape = Some(shape);
        let perm = ("perm", Attribute::Ints(vec![0, 3, 1, 2]));
        let tensor = self.onnx.op("Transpose", &[self.input_name], &[perm]);
        Ok(Value::image(tensor))
    }

    fn convolution(&mut self, n: &Node, depthwise: bool) -> Result<Value, ConvertError> {
        n.check_channels_last()?;
        let x = self.image(n.input(0)?)?;
        let w = self.weights.get(n.input(1)?)?;
        let [rows, columns, from, to] = w.shape()?;
        let mut attributes = vec![
            ("kernel_shape", Attribute::Ints(vec![rows as i64, columns as i64])),
            ("strides", Attribute::Ints(n.image_axes("strides")?)),
            (
                "dilations",
                Attribute::Ints(n.image_axes("dilations").unwrap_or_else(|_| vec![1, 1])),
            ),
            ("auto_pad", Attribute::Text(n.padding()?)),
        ];
        let (shape, data) = if depthwise {
            attributes.push(("group", Attribute::Int(from as i64)));
            ([from * to, 1, rows, columns], w.permuted([2, 3, 0, 1])?)
        } else {
            ([to, from, rows, columns], w.permuted([3, 2, 0, 1])?)
        };
        let w = self.onnx.floats(&shape, &data)?;
        let fused = n.fused()?;
        let mut inputs = vec![x, w];
        if fused.bias {
            let bias = self.weights.get(n.input(2)?)?;
            inputs.push(self.onnx.floats(&[bias.len()], &bias.floats()?)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let tensor = self.onnx.op("Conv", &inputs, &attributes);
        let tensor = self.activation(n, tensor, fused.activation)?;
        Ok(Value::image(tensor))
    }

    fn activation(
        &mut self,
        n: &Node,
        x: String,
        activation: Option<&str>,
    ) -> Result<String, ConvertError> {
        match activation {
            None => Ok(x),
            Some("Relu") => Ok(self.onnx.op("Relu", &[&x], &[])),
            Some("Relu6") => {
                let least = self.onnx.floats(&[], &[0.0])?;
                let most = self.onnx.floats(&[], &[6.0])?;
                Ok(self.onnx.op("Clip", &[&x, &least, &most], &[]))
            }
            Some("Prelu") => self.prelu(&x, n.input(3)?),
            Some(other) => Err(unsupported(format!("the activation {other}"))),
        }
    }

    /// A rectifier whose negative slope `a` is a weight per channel, as
    /// `(1 - a) · max(x, 0) + a · x`: two depthwise convolutions of one pixel. ONNX Runtime has no
    /// kernel for `PRelu` in its blocked layout and rearranges the tensor before and after each
    /// one; like this a model stays blocked throughout, which halves the face mesh's time.
    fn prelu(&mut self, x: &str, slope: &str) -> Result<String, ConvertError> {
        let slope = self.weights.get(slope)?.floats()?;
        let rest: Vec<f32> = slope.iter().map(|a| 1.0 - a).collect();
        let attributes = [
            ("group", Attribute::Int(slope.len() as i64)),
            ("kernel_shape", Attribute::Ints(vec![1, 1])),
        ];
        let shape = [slope.len(), 1, 1, 1];
        let slope = self.onnx.floats(&shape, &slope)?;
        let rest = self.onnx.floats(&shape, &rest)?;
        let positive = self.onnx.op("Relu", &[x], &[]);
        let positive = self.onnx.op("Conv", &[&positive, &rest], &attributes);
        let all = self.onnx.op("Conv", &[x, &slope], &attributes);
        Ok(self.onnx.op("Add", &[&all, &positive], &[]))
    }

    fn pool(&mut self, n: &Node, op: &str) -> Result<Value, ConvertError> {
        n.check_channels_last()?;
        let x = self.image(n.input(0)?)?;
        let attributes = [
            ("kernel_shape", Attribute::Ints(n.image_axes("ksize")?)),
            ("strides", Attribute::Ints(n.image_axes("strides")?)),
            ("auto_pad", Attribute::Text(n.padding()?)),
        ];
        Ok(Value::image(self.onnx.op(op, &[&x], &attributes)))
    }

    /// Zeros around an image: the source has pairs (before, after) for n, row, column, channel.
    fn pad(&mut self, n: &Node) -> Result<Value, ConvertError> {
        let x = self.image(n.input(0)?)?;
        let p = self.weights.get(n.input(1)?)?.integers()?;
        let [n0, n1, r0, r1, c0, c1, d0, d1] = p[..] else {
            return Err(malformed("a padding does not have four pairs"));
        };
        let pads = self.onnx.ints(&[n0, d0, r0, c0, n1, d1, r1, c1])?;
        Ok(Value::image(self.onnx.op("Pad", &[&x, &pads], &[])))
    }

    /// An operation of two tensors, one of which may be a weight: a scalar, or one value per
    /// channel.
    fn elementwise(&mut self, n: &Node, op: &str) -> Result<Value, ConvertError> {
        let names = [n.input(0)?, n.input(1)?];
        let mut operands = [None, None];
        for (operand, name) in operands.iter_mut().zip(names) {
            if !self.weights.has(name) {
                *operand = Some(self.value(name)?);
            }
        }
        let (layout, axes) = match &operands {
            [Some(a), Some(b)] if a.layout != b.layout || a.axes.len() != b.axes.len() => {
                return Err(unsupported(format!("two tensors of different layout in {}", n.name)));
            }
            [Some(v), _] | [_, Some(v)] => (v.layout, vec![Axis::Open; v.axes.len()]),
            [None, None] => return Err(unsupported(format!("two constants in {}", n.name))),
        };
        let mut tensors = Vec::new();
        for (operand, name) in operands.into_iter().zip(names) {
            tensors.push(if let Some(v) = operand {
                v.tensor
            } else {
                let w = self.weights.get(name)?;
                let shape = match (layout, w.len()) {
                    (_, 1) => vec![],
                    (Layout::Image, n) => vec![n, 1, 1],
                    (Layout::AsIs, _) => w.dimensions().to_vec(),
                };
                self.onnx.floats(&shape, &w.floats()?)?
            });
        }
        Ok(Value { tensor: self.onnx.op(op, &[&tensors[0], &tensors[1]], &[]), layout, axes })
    }

    fn unary(&mut self, n: &Node, op: &str) -> Result<Value, ConvertError> {
        let x = self.value(n.input(0)?)?;
        Ok(Value { tensor: self.onnx.op(op, &[&x.tensor], &[]), ..x })
    }

    fn softmax(&mut self, n: &Node) -> Result<Value, ConvertError> {
        let x = self.value(n.input(0)?)?;
        let axis = match x.layout {
            Layout::Image => 1,
            Layout::AsIs => -1,
        };
        let axis = ("axis", Attribute::Int(axis));
        Ok(Value { tensor: self.onnx.op("Softmax", &[&x.tensor], &[axis]), ..x })
    }

    fn reshape(&mut self, n: &Node) -> Result<Value, ConvertError> {
        let x = self.value(n.input(0)?)?;
        let shape = self.weights.get(n.input(1)?)?.integers()?;
        let mut tensor = x.tensor;
        if x.layout == Layout::Image {
            let perm = ("perm", Attribute::Ints(vec![0, 2, 3, 1]));
            tensor = self.onnx.op("Transpose", &[&tensor], &[perm]);
        }
        let is_image = shape.len() == 4;
        let axes =
            shape.iter().map(|d| if *d > 0 { Axis::Fixed(*d) } else { Axis::Open }).collect();
        let shape = self.onnx.ints(&shape)?;
        tensor = self.onnx.op("Reshape", &[&tensor, &shape], &[]);
        if !is_image {
            return Ok(Value { tensor, layout: Layout::AsIs, axes });
        }
        let perm = ("perm", Attribute::Ints(vec![0, 3, 1, 2]));
        tensor = self.onnx.op("Transpose", &[&tensor], &[perm]);
        Ok(Value::image(tensor))
    }

    /// The mean over an image's rows and columns.
    fn mean(&mut self, n: &Node) -> Result<Value, ConvertError> {
        let x = self.image(n.input(0)?)?;
        let mut axes = self.weights.get(n.input(1)?)?.integers()?;
        axes.sort_unstable();
        if axes != [1, 2] {
            return Err(unsupported("a mean over other axes than an image's"));
        }
        let keep = n.flag("keep_dims")?;
        let axes = self.onnx.ints(&[2, 3])?;
        let keep_dims = ("keepdims", Attribute::Int(i64::from(keep)));
        let tensor = self.onnx.op("ReduceMean", &[&x, &axes], &[keep_dims]);
        Ok(if keep {
            Value::image(tensor)
        } else {
            Value { tensor, layout: Layout::AsIs, axes: vec![Axis::Open; 2] }
        })
    }

    fn matrix_product(&mut self, n: &Node) -> Result<Value, ConvertError> {
        let x = self.value(n.input(0)?)?;
        if x.layout == Layout::Image {
            return Err(unsupported("a matrix product with an image"));
        }
        let w = self.weights.get(n.input(1)?)?;
        let [rows, columns] = w.shape()?;
        let w = self.onnx.floats(&[rows, columns], &w.floats()?)?;
        let fused = n.fused()?;
        let mut inputs = vec![x.tensor, w];
        if fused.bias {
            let bias = self.weights.get(n.input(2)?)?;
            inputs.push(self.onnx.floats(&[bias.len()], &bias.floats()?)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = [
            ("transA", Attribute::Int(i64::from(n.flag("transpose_a")?))),
            ("transB", Attribute::Int(i64::from(n.flag("transpose_b")?))),
        ];
        let tensor = self.onnx.op("Gemm", &inputs, &attributes);
        let activation = fused.activation.filter(|a| *a != "Prelu");
        if activation != fused.activation {
            return Err(unsupported("a Prelu behind a matrix product"));
        }
        let tensor = self.activation(n, tensor, activation)?;
        Ok(Value { tensor, layout: Layout::AsIs, axes: vec![Axis::Open; 2] })
    }

    /// The tensor that the source's node `name` yields.
    fn value(&self, name: &str) -> Result<Value, ConvertError> {
        self.values
            .get(name)
            .cloned()
            .ok_or_else(|| malformed(format!("{name} is used before it is made")))
    }

    /// The same, which must be an image.
    fn image(&self, name: &str) -> Result<String, ConvertError> {
        let value = self.value(name)?;
        match value.layout {
            Layout::Image => Ok(value.tensor),
            Layout::AsIs => Err(unsupported(format!("{name} as an image"))),
        }
    }
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::Malformed { format: FORMAT, problem: problem.into() }
}

fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}

#[cfg(test)]
mod tests;
