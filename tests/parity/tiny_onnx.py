# In: a table of token vectors. Out: ONNX files of a few nodes, whose answer NumPy gives in a line.
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
HEADS = 2


def save(path, nodes, inputs, outputs, constants):
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)
    return path


def integers(*names):
    shape = ["batch", "length"]
    return [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names]


def write_lookup(path, table, mixing=None, more_inputs=()):
    """A token's state is its row of the table, to which `mixing`, a few nodes, does something."""
    inputs = integers("input_ids", "attention_mask", *more_inputs)
    shape = ["batch", "length", table.shape[1]]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    nodes += mixing or [helper.make_node("Identity", ["rows"], ["last_hidden_state"])]
    return save(path, nodes, inputs, [output], {"table": table})


def write_decoder(path, table, positions, cache=np.float32):
    """A decoder as exported to go on from cached tokens: a token's state is the sum of the rows of
    its id and position, and of those before it. It passes through the cache, whose type may round
    it, so that tokens of the past would make the states more."""
    width = table.shape[1]
    cache_type = helper.np_dtype_to_tensor_dtype(np.dtype(cache))
    shape = ["batch", HEADS, "past", width // HEADS]
    longer = ["batch", HEADS, "total", width // HEADS]
    names = ("0.key", "0.value")
    inputs = integers("input_ids", "attention_mask", "position_ids")
    inputs += [
        helper.make_tensor_value_info(f"past_key_values.{name}", cache_type, shape)
        for name in names
    ]
    outputs = [
        helper.make_tensor_value_info(
            "last_hidden_state", TensorProto.FLOAT, ["batch", "length", width]
        )
    ]
    outputs += [
        helper.make_tensor_value_info(f"present.{name}", cache_type, longer) for name in names
    ]
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["rows"]),
        node("Gather", ["positions", "position_ids"], ["places"]),
        node("Add", ["rows", "places"], ["sums"]),
        node("CumSum", ["sums", "axis"], ["running"]),
        node("Reshape", ["running", "split"], ["halves"]),
        node("Transpose", ["halves"], ["heads"], perm=[0, 2, 1, 3]),
        node("Cast", ["heads"], ["new"], to=cache_type),
    ]
    nodes += [
        node("Concat", [f"past_key_values.{name}", "new"], [f"present.{name}"], axis=2)
        for name in names
    ]
    nodes += [
        node("Cast", ["present.0.value"], ["all"], to=TensorProto.FLOAT),
        node("Transpose", ["all"], ["back"], perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "join"], ["last_hidden_state"]),
    ]
    constants = {
        "table": table,
        "positions": positions,
        "axis": np.array(1),
        "split": np.array([0, 0, HEADS, width // HEADS]),
        "join": np.array([0, 0, width]),
    }
    return save(path, nodes, inputs, outputs, constants)
