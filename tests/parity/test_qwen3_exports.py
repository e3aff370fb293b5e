# Goal: Qwen3 exports as they are on the hub give through textvec what they give through Python's ONNX
# Runtime, and the float ones what transformers gives for the model that they were made from.
# Method: scripts/make_qwen3_exports.py makes a tiny model and exports of it at the start.
import functools
import shutil
import subprocess

import make_qwen3_exports
import numpy as np
import onnx
import parity
import pytest
from onnx import helper

FORMS = {form.name: form for form in make_qwen3_exports.FORMS}
FILES = [
    (form.name, file)
    for form in make_qwen3_exports.FORMS
    for file in make_qwen3_exports.files_of(form)
]
GLOSSES = 40
ALONE_TOLERANCE = 1e-6


@functools.cache
def texts():
    return parity.glosses(GLOSSES) + parity.other_scripts()


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen3")
    # Learnt from a part of the texts, so that the rest holds words unknown to the vocabulary.
    make_qwen3_exports.make_exports(texts()[::2], folder)
    return folder


@pytest.fixture
def own(exports, tmp_path):
    """A copy of the hub's form that a test may damage."""
    return shutil.copytree(exports / "mha", tmp_path / "own")


def graph_of(folder, file="model"):
    return folder / "onnx" / f"{file}.onnx"


def feed_of(session, ids):
    """One text, and the keys and values of no earlier ones."""
    given = {
        "input_ids": np.array([ids]),
        "attention_mask": np.ones((1, len(ids)), np.int64),
        "position_ids": np.arange(len(ids))[None],
    }
    for port in session.get_inputs():
        if port.name not in given:
            heads, size = port.shape[1], port.shape[3]
            dtype = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[port.type]
            given[port.name] = np.zeros((1, heads, 0, size), dtype)
    return {port.name: given[port.name] for port in session.get_inputs()}


def with_onnxruntime(graph, rows):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    vectors = []
    for ids in rows:
        hidden = session.run(["last_hidden_state"], feed_of(session, ids))[0]
        vector = hidden[0, -1].astype(np.float64)
        vectors.append(vector / np.linalg.norm(vector))
    return np.array(vectors, np.float32)


def source(exports, form):
    return exports / FORMS[form].source


def test_ids(exports):
    expected = parity.reference(source(exports, "mha"), texts()).ids
    assert max(map(len, expected)) == make_qwen3_exports.TOKENS_MAX, "no text was truncated"
    parity.assert_same_ids(parity.tokenize(exports / "mha", texts()), expected, texts())


@pytest.mark.parametrize("form, file", FILES)
def test_vectors_are_those_of_the_same_file_in_python(exports, form, file):
    graph = graph_of(exports / form, file)
    ids = parity.reference(source(exports, form), texts()).ids
    options = []
    if file == make_qwen3_exports.DYNAMIC:
        # It scales each inference by the largest value in it, so each text runs alone.
        options = ["--batch-tokens", 1]
    vectors = parity.embed(graph, texts(), *options)
    # The 16-bit files too: both sides round the same numbers, whatever else is in the batch.
    parity.assert_close(vectors, with_onnxruntime(graph, ids), texts())
    parity.assert_unit_length(vectors, texts())


@pytest.mark.parametrize("form", FORMS)
def test_float_vectors_are_those_of_transformers(exports, form):
    vectors = parity.embed(exports / form, texts())
    parity.assert_close(vectors, parity.reference(source(exports, form), texts()).vectors, texts())


@pytest.mark.parametrize("form", FORMS)
def test_a_text_has_one_vector_in_any_batch(exports, form):
    together = parity.embed(exports / form, texts(), "--batch-tokens", 4096)
    alone = parity.embed(exports / form, texts(), "--batch-tokens", 1)
    parity.assert_close(together, alone, texts(), ALONE_TOLERANCE)


@pytest.mark.parametrize("form", FORMS)
def test_it_runs_as_it_is_on_the_processor(exports, form):
    info = parity.info(exports / form)
    assert (info["path"], info["pooling"]) == ("as-is", "last-token")
    assert [entry["provider"] for entry in info["placement"]] == ["CPUExecutionProvider"]


def test_links_as_in_the_hub_cache_are_followed(exports, tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "revision"
    blobs.mkdir()
    for index, path in enumerate(sorted((exports / "mha").rglob("*"))):
        link = snapshot / path.relative_to(exports / "mha")
        if path.is_file():
            shutil.copy(path, blobs / str(index))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blobs / str(index))
    expected = parity.embed(exports / "mha", ["one", "two words"])
    assert np.array_equal(parity.embed(snapshot, ["one", "two words"]), expected)


def nodes_of(folder):
    return sum(entry["nodes"] for entry in parity.info(folder)["placement"])


def test_an_output_that_nobody_asks_for_costs_nothing(own):
    before = nodes_of(own)
    model = onnx.load(graph_of(own), load_external_data=False)
    names = ["last_hidden_state", "embed_tokens"]
    model.graph.node.append(helper.make_node("Transpose", names[1:], ["head"], perm=[1, 0]))
    model.graph.node.append(helper.make_node("MatMul", [names[0], "head"], ["logits"]))
    model.graph.output.append(helper.make_tensor_value_info("logits", 1, ["b", "s", "v"]))
    onnx.save(model, graph_of(own))
    assert nodes_of(own) == before


# --- Bad input


def assert_refused(model, *words, code=3):
    command = [parity.binary(), "embed", "--model", model, "a text"]
    done = subprocess.run(command, capture_output=True, timeout=parity.RUN_SECONDS_MAX)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert len(message.splitlines()) == 1, message
    for word in words:
        assert word in message


def test_weights_that_are_missing_or_cut_short_are_named(own):
    data = own / "onnx" / "model.onnx_data"
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    assert_refused(own, str(data), "cut short")
    data.unlink()
    assert_refused(own, str(data))


def change(folder, alter):
    model = onnx.load(graph_of(folder), load_external_data=False)
    alter(model)
    onnx.save(model, graph_of(folder))


@pytest.mark.parametrize("form", ["mha", "mha-without-past"])
def test_weights_elsewhere_are_refused(exports, tmp_path, form):
    """With outputs to cut away, and without."""
    folder = shutil.copytree(exports / form, tmp_path / "own")
    shutil.move(folder / "onnx" / "model.onnx_data", folder / "model.onnx_data")

    def alter(model):
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../model.onnx_data"

    change(folder, alter)
    assert_refused(folder, "cos_cache", "../model.onnx_data", "folder")


def test_a_cache_of_unknown_size_is_named(own):
    def alter(model):
        port = next(port for port in model.graph.input if port.name == "past_key_values.1.key")
        port.type.tensor_type.shape.dim[1].dim_param = "heads"

    change(own, alter)
    assert_refused(own, "past_key_values.1.key", "heads", code=2)


def test_an_input_that_nobody_feeds_is_named(own):
    port = helper.make_tensor_value_info("num_logits_to_keep", onnx.TensorProto.INT64, [])
    change(own, lambda model: model.graph.input.append(port))
    assert_refused(own, "num_logits_to_keep", code=2)


def test_sixteen_bits_that_overflow_are_an_error_with_advice(own):
    graph = graph_of(own, "model_fp16")
    model = onnx.load(graph)
    for tensor in model.graph.initializer:
        if tensor.name == "layers.1.mlp.down_proj.weight":
            weights = onnx.numpy_helper.to_array(tensor)
            large = (weights.astype(np.float32) * 60_000).clip(-65_000, 65_000)
            tensor.CopyFrom(onnx.numpy_helper.from_array(large.astype(np.float16), tensor.name))
    onnx.save(model, graph)
    command = [parity.binary(), "embed", "--model", graph, "a text"]
    done = subprocess.run(command, capture_output=True, timeout=parity.RUN_SECONDS_MAX)
    assert done.returncode == 4
    assert b"16-bit" in done.stderr and b"fp32" in done.stderr
    assert b"embedding" not in done.stdout
