//! Writing ONNX files: the few protobuf messages a converted model needs, and a builder over them.
//!
//! Field numbers are those of `onnx.proto` (ONNX IR version 9, operator set 18). Names are numbered
//! in the order of construction and nothing else goes into the file, so the same input always gives
//! the same bytes.

use prost::Message;

use super::ConvertError;

/// Most bytes of weights that one converted model may hold.
const MOST_WEIGHT_BYTES: usize = 128 << 20;

/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// `AttributeProto.AttributeType`.
const ATTRIBUTE_INT: i32 = 2;
const ATTRIBUTE_STRING: i32 = 3;
const ATTRIBUTE_INTS: i32 = 7;

/// A graph in the making.
#[derive(Debug, Default)]
pub(super) struct GraphBuilder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    weight_bytes: usize,
}

/// The value of a node's attribute.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

/// A size of an input's or output's axis.
#[derive(Clone, Debug)]
pub(super) enum Axis {
    Fixed(i64),
    Named(&'static str),
    /// Left for the runtime to infer.
    Open,
}

/// An input or output of the graph. All are `f32`.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) shape: Vec<Axis>,
}

impl GraphBuilder {
    /// Adds a constant of `f32`; answers its name.
    pub(super) fn floats(&mut self, shape: &[usize], data: &[f32]) -> Result<String, ConvertError> {
        self.constant(FLOAT, shape, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Adds a vector of `i64`; answers its name.
    pub(super) fn ints(&mut self, data: &[i64]) -> Result<String, ConvertError> {
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(INT64, &[data.len()], raw)
    }

    /// Adds an operation with one output of a fresh name; answers that name.
    pub(super) fn op(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = format!("n{}", self.nodes.len());
        self.op_named(op_type, inputs, attributes, &[&output]);
        output
    }

    /// Adds an operation whose outputs have these names (an empty name: not wanted).
    pub(super) fn op_named(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: &[&str],
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            op_type: op_type.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// The finished model file.
    pub(super) fn finish(self, name: &str, inputs: &[Port], outputs: &[Port]) -> Vec<u8> {
        ModelProto {
            ir_version: 9,
            producer_name: "cameo".to_owned(),
            graph: Some(GraphProto {
                node: self.nodes,
                name: name.to_owned(),
                initializer: self.initializers,
                input: inputs.iter().map(value_info).collect(),
                output: outputs.iter().map(value_info).collect(),
            }),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 18 }],
        }
        .encode_to_vec()
    }

    fn constant(
        &mut self,
        data_type: i32,
        shape: &[usize],
        raw_data: Vec<u8>,
    ) -> Result<String, ConvertError> {
        self.weight_bytes = self.weight_bytes.saturating_add(raw_data.len());
        if self.weight_bytes > MOST_WEIGHT_BYTES {
            return Err(ConvertError::TooLarge { limit: MOST_WEIGHT_BYTES });
        }
        let name = format!("w{}", self.initializers.len());
        self.initializers.push(TensorProto {
            dims: shape.iter().map(|d| *d as i64).collect(),
            data_type,
            name: name.clone(),
            raw_data,
        });
        Ok(name)
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut a = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Int(v) => {
            a.i = Some(*v);
            a.r#type = ATTRIBUTE_INT;
        }
        Attribute::Ints(v) => {
            a.ints.clone_from(v);
            a.r#type = ATTRIBUTE_INTS;
        }
        Attribute::Text(v) => {
            a.s = Some(v.as_bytes().to_vec());
            a.r#type = ATTRIBUTE_STRING;
        }
    }
    a
}

fn value_info(port: &Port) -> ValueInfoProto {
    let dim = port.shape.iter().map(|axis| match axis {
        Axis::Fixed(size) => Dimension { dim_value: Some(*size), dim_param: None },
        Axis::Named(name) => Dimension { dim_value: None, dim_param: Some((*name).to_owned()) },
        Axis::Open => Dimension::default(),
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    ValueInfoProto {
        name: port.name.clone(),
        r#type: Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type: FLOAT, shape }) }),
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_back_as_built() {
        let mut g = GraphBuilder::default();
        let w = g.floats(&[2, 1], &[1.5, -2.0]).unwrap();
        let axes = g.ints(&[1]).unwrap();
        let sum = g.op("Add", &["x", &w], &[]);
        let keep = ("keepdims", Attribute::Int(0));
        g.op_named("ReduceMean", &[&sum, &axes], &[keep], &["y"]);
        let port = |name: &str, shape| Port { name: name.to_owned(), shape };
        let axes = vec![Axis::Named("n"), Axis::Fixed(1)];
        let bytes = g.finish("test", &[port("x", axes)], &[port("y", vec![Axis::Open])]);

        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.opset_import[0].version, 18);
        let graph = model.graph.unwrap();
        assert_eq!(graph.initializer[0].raw_data, [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(graph.initializer[0].dims, [2, 1]);
        assert_eq!(graph.node[0].input, ["x", "w0"]);
        assert_eq!(graph.node[1].input, ["n0", "w1"]);
        assert_eq!(graph.node[1].attribute[0].i, Some(0));
    }

    /// Checked by hand against the protobuf encoding rules and `onnx.proto`'s field numbers.
    #[test]
    fn an_operation_is_encoded_field_by_field() {
        let mut g = GraphBuilder::default();
        g.op_named("Relu", &["x"], &[], &["y"]);
        assert_eq!(
            g.nodes[0].encode_to_vec(),
            [0x0a, 1, b'x', 0x12, 1, b'y', 0x22, 4, b'R', b'e', b'l', b'u']
        );
    }
}
