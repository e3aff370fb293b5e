# Goal: a graph that does not keep to what it states, or that hides a file's name where this version of
# ONNX does not look, gives an error and nothing of the file.
import shutil
import subprocess

import numpy as np
import onnx
import parity
import pytest
from onnx import TensorProto, helper

WIDTH = 8
SECRET = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]


def folder_of(tmp_path, nodes, outputs, constants, functions=()):
    shutil.copy(parity.onnx_model("bge-small-en-v1.5") / "tokenizer.json", tmp_path)
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])]
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("hidden", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return tmp_path


def run(folder):
    command = [parity.binary(), "embed", "--no-normalize", "--model", folder, "hello"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_another_rank_than_the_graph_states(tmp_path, rank):
    # The shape that the sum gets is made while the graph runs: [1] * rank.
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=0),
        helper.make_node("Size", ["input_ids"], ["size"]),
        helper.make_node("Div", ["size", "size"], ["one"]),
        helper.make_node("Mul", ["one", "rank"], ["end"]),
        helper.make_node("Slice", ["ones", "zero", "end"], ["shape"]),
        helper.make_node("Reshape", ["sum", "shape"], ["last_hidden_state"]),
    ]
    constants = {
        "rank": np.array([rank]),
        "zero": np.array([0]),
        "ones": np.ones(3, dtype=np.int64),
    }
    shape = ["batch", "length", WIDTH]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
    done = run(folder_of(tmp_path, nodes, [output], constants))
    assert done.returncode == 3, done.stderr
    assert f'output "last_hidden_state" has rank {rank}; the graph states 3' in done.stderr


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_file_named_in_a_functions_default_attribute(tmp_path, outputs):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.array(SECRET, dtype=np.float32).tobytes())
    model = tmp_path / "model"
    model.mkdir()
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1, WIDTH])
    hidden.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", str(secret).lstrip("/") if outputs == 2 else "../secret.bin"),
        ("offset", "0"),
        ("length", str(4 * WIDTH)),
    ):
        hidden.external_data.add(key=key, value=value)
    constant = helper.make_node("Constant", [], ["out"])
    constant.attribute.add(name="value", ref_attr_name="w", type=onnx.AttributeProto.TENSOR)
    function = onnx.FunctionProto(name="F", domain="hidden", output=["out"], node=[constant])
    function.opset_import.append(helper.make_opsetid("", 20))
    function.attribute_proto.add(name="w", type=onnx.AttributeProto.TENSOR).t.CopyFrom(hidden)
    nodes = [
        helper.make_node("F", [], ["read"], domain="hidden"),
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "read"], ["sentence_embedding"]),
        helper.make_node("Identity", ["numbers"], ["other"]),
    ]
    values = [
        helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH]),
        helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", "length"]),
    ]
    constants = {"nothing": np.zeros(1, dtype=np.float32)}
    done = run(folder_of(model, nodes, values[:outputs], constants, [function]))
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert "5.5" not in done.stdout
