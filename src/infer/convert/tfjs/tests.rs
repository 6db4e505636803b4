//! Tests of the graph model converter on small models; whole ones are in `tests/it/models.rs`.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value as Json, json};

use super::*;

/// A 4 x 4 image, a convolution with two outputs and a bias, a reshape.
fn model() -> (Json, Vec<u8>) {
    let list = |values: &[i64]| json!({"list": {"i": values.iter().map(ToString::to_string).collect::<Vec<_>>()}});
    let dim = |n: i64| json!({"size": n.to_string()});
    let graph = json!({
        "modelTopology": {"node": [
            {"name": "x", "op": "Placeholder",
             "attr": {"shape": {"shape": {"dim": [dim(-1), dim(4), dim(4), dim(3)]}}}},
            {"name": "w", "op": "Const"}, {"name": "b", "op": "Const"}, {"name": "s", "op": "Const"},
            {"name": "conv", "op": "_FusedConv2D", "input": ["x:0", "w", "b"], "attr": {
                "strides": list(&[1, 2, 2, 1]), "dilations": list(&[1, 1, 1, 1]),
                "padding": {"s": "U0FNRQ=="}, "data_format": {"s": "TkhXQw=="},
                "fused_ops": {"list": {"s": ["Qmlhc0FkZA==", "UmVsdQ=="]}}}},
            {"name": "flat", "op": "Reshape", "input": ["conv", "s"]},
        ]},
        "weightsManifest": [{"paths": ["m.bin"], "weights": [
            {"name": "w", "shape": [1, 1, 3, 2], "dtype": "float32",
             "quantization": {"dtype": "float16", "original_dtype": "float32"}},
            {"name": "b", "shape": [2], "dtype": "float32"},
            {"name": "s", "shape": [2], "dtype": "int32"},
        ]}],
    });
    let mut weights = [0x3c00_u16; 6].map(u16::to_le_bytes).concat();
    weights.extend([0.5_f32, -0.5].map(f32::to_le_bytes).concat());
    weights.extend([1_i32, 8].map(i32::to_le_bytes).concat());
    (graph, weights)
}

fn run(graph: &Json, weights: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let outputs = [Rename { from: "flat".into(), to: "y".into() }];
    convert(&serde_json::to_vec(graph).unwrap(), weights, "image", &outputs)
}

#[test]
fn a_small_model_converts_the_same_every_time() {
    let (graph, weights) = model();
    let first = run(&graph, &weights).unwrap();
    assert_eq!(run(&graph, &weights).unwrap(), first);
    let text = String::from_utf8_lossy(&first);
    for op in ["Transpose", "Conv", "Relu", "Reshape", "SAME_UPPER", "image"] {
        assert!(text.contains(op), "no {op}");
    }
}

#[rstest]
#[case::operation("/modelTopology/node/5/op", json!("Sin"), "the operation Sin")]
#[case::order("/modelTopology/node/5/input/0", json!("later"), "used before it is made")]
#[case::lost_input("/modelTopology/node/4/input", json!(["x"]), "lacks its input 1")]
#[case::padding("/modelTopology/node/4/attr/padding/s", json!("RVhQTA=="), "the padding EXPL")]
#[case::not_base64("/modelTopology/node/4/attr/padding/s", json!("?"), "not base64")]
#[case::stride("/modelTopology/node/4/attr/strides/list/i", json!(["1", "0", "2", "1"]), "strides")]
#[case::fused("/modelTopology/node/4/attr/fused_ops/list/s", json!(["U2lu"]), "the fused operation Sin")]
#[case::channels_first("/modelTopology/node/4/attr/data_format/s", json!("TkNIVw=="), "channels first")]
#[case::kernel_axes("/weightsManifest/0/weights/0/shape", json!([6]), "does not have 4 axes")]
#[case::endless("/weightsManifest/0/weights/0/shape", json!([4_294_967_296_u64, 4_294_967_296_u64]), "has no size")]
#[case::nothing("/weightsManifest/0/weights/0/shape", json!([0, 1_099_511_627_776_u64]), "the empty weight")]
#[case::too_long("/weightsManifest/0/weights/0/shape", json!([1, 1, 3, 9]), "ends early")]
#[case::too_short("/weightsManifest/0/weights/2/shape", json!([1]), "longer than the weights")]
#[case::dtype("/weightsManifest/0/weights/1/dtype", json!("bool"), "weights of type bool")]
#[case::no_scale("/weightsManifest/0/weights/0/quantization/dtype", json!("uint8"), "lacks its scale")]
fn what_is_not_understood_is_refused_by_name(
    #[case] at: &str,
    #[case] value: Json,
    #[case] says: &str,
) {
    let (mut graph, weights) = model();
    *graph.pointer_mut(at).expect("the case names a place") = value;
    let error = run(&graph, &weights).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_weight_that_is_not_finite_is_refused() {
    let (graph, mut weights) = model();
    weights[0..2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    assert!(run(&graph, &weights).unwrap_err().to_string().contains("not finite"));
}

proptest! {
    #[test]
    fn any_bytes_are_converted_or_refused(json: Vec<u8>, weights: Vec<u8>) {
        let _ = convert(&json, &weights, "image", &[]);
    }

    #[test]
    fn a_damaged_model_is_converted_or_refused(at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let (graph, weights) = model();
        let mut json = serde_json::to_vec(&graph).unwrap();
        let i = at.index(json.len());
        json[i] = value;
        let outputs = [Rename { from: "flat".into(), to: "y".into() }];
        let _ = convert(&json, &weights[..cut.index(weights.len())], "image", &outputs);
        let _ = convert(&json, &weights, "image", &outputs);
    }
}
