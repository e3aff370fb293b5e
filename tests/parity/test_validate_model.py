# Goal: scripts/validate_model.py passes on good models, and of a broken one says what is broken.
# Method: the test models as they are; then copies of a tiny one, each damaged in one way, and ONNX
# graphs of a few nodes, each wrong in one way.
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from unittest import mock

import make_tiny_models
import numpy as np
import onnx
import parity
import pytest
import safetensors.numpy
import tiny_onnx
import validate_model
from onnx import helper, numpy_helper

TINY = (
    "bert-new-format-dense",
    "bert-dense-twice",
    "bert-prompt-left-out",
    "bert-last-token",
    "roberta-f16",
    "xlm-roberta-sharded",
    "distilbert-lower-case",
)
EXPORTS = parity.ONNX_MODELS
BASE = "bert-last-token"
WEIGHTS = "model.safetensors"
SKIPPED_FOR_EXPORTS = ("weights", "semantic", "textvec", "dimensions", "reference")
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validated")
    recipes = [recipe for recipe in make_tiny_models.RECIPES if recipe.name in TINY]
    make_tiny_models.make_models(parity.glosses(40) + parity.other_scripts(), folder, recipes)
    return folder


@pytest.fixture
def own(tiny_models, tmp_path):
    """A copy to damage."""
    return shutil.copytree(tiny_models / BASE, tmp_path / "own")


@pytest.fixture
def exported(own):
    """The copy with an ONNX graph in the place of its weights, pooled by the mean."""
    (own / WEIGHTS).unlink()
    mean = {"word_embedding_dimension": make_tiny_models.HIDDEN, "pooling_mode_mean_tokens": True}
    (own / "1_Pooling" / "config.json").write_text(json.dumps(mean))
    tiny_onnx.write_lookup(own / "onnx" / "model.onnx", table_for(own))
    return own


def table_for(folder, width=make_tiny_models.HIDDEN):
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    return np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)


def validate(*arguments):
    """The exit code and the report."""
    output = io.StringIO()
    environment = {"TEXTVEC_CACHE": parity.own_cache().name}
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(output):
        with pytest.raises(SystemExit) as stopped:
            validate_model.main([*map(str, arguments), "--json", "-"])
    return stopped.value.code, json.loads(output.getvalue())


def assert_valid(*arguments, skipped=()):
    code, report = validate(*arguments)
    wrong = [check for check in report["checks"] if check["passed"] is False]
    assert (code, wrong) == (0, [])
    assert {check["name"] for check in report["checks"] if check["passed"] is None} == set(skipped)
    return report


def assert_invalid(name, words, *arguments):
    """The check `name` is the first that failed, and says why."""
    code, report = validate(*arguments)
    assert code == 1
    failed = {
        check["name"]: check["detail"] for check in report["checks"] if check["passed"] is False
    }
    assert next(iter(failed)) == name, failed
    for word in words:
        assert str(word) in failed[name], failed[name]
    return failed


def set_key(file, key, value):
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))


# --- Good models


def test_minilm(minilm):
    report = assert_valid(minilm, "--textvec", parity.binary())
    graph = report["graph"]
    assert graph["source"] == "compiled by textvec" and graph["precision"] == "f32"
    assert [port["name"] for port in graph["inputs"]] == ["input_ids", "attention_mask"]
    assert graph["outputs"][0]["shape"][-1] == 384
    assert sum(graph["operators"].values()) == graph["nodes"]
    contrib = sum(
        count for name, count in graph["operators"].items() if name.startswith("com.microsoft:")
    )
    assert 0 < graph["contrib_share"] == contrib / graph["nodes"]
    assert report["versions"]["onnxruntime"] and report["machine"]["cores"]


@pytest.mark.parametrize("name", EXPORTS)
def test_onnx_files(name):
    arguments = ("--pooling", EXPORTS[name], "--textvec", parity.binary())
    skipped = ("config", "weights", "reference")
    report = assert_valid(parity.onnx_model(name) / "model.onnx", *arguments, skipped=skipped)
    expected = "quantised" if name.endswith("-q") else "f32"
    assert report["graph"]["precision"] == expected


@pytest.mark.parametrize("name", TINY)
def test_tiny_models(tiny_models, tmp_path, name):
    texts = parity.write_texts(tmp_path, parity.other_scripts()[::4])
    arguments = ("--textvec", parity.binary(), "--texts", texts)
    assert_valid(tiny_models / name, *arguments, skipped=("semantic",))


def test_without_textvec(tiny_models):
    skipped = ("graph", "session", "semantic", "textvec", "dimensions", "reference")
    assert_valid(tiny_models / BASE, skipped=skipped)


@pytest.mark.parametrize("cache", [np.float32, np.float16])
def test_decoder_with_caches(exported, cache):
    table = table_for(exported) * np.float32(0.1)
    file = exported / "onnx" / "model.onnx"
    tiny_onnx.write_decoder(file, table, table[: make_tiny_models.TOKENS_MAX], cache)
    report = assert_valid(exported, "--pooling", "lasttoken", skipped=SKIPPED_FOR_EXPORTS)
    assert len(report["graph"]["inputs"]) == 5


def test_operator_that_only_the_runtime_knows(exported):
    """Published decoders have it in ONNX's own domain, where ONNX's checker refuses it."""
    scale = numpy_helper.from_array(np.ones(make_tiny_models.HIDDEN, np.float32))
    names = ["rows", "scale"], ["last_hidden_state"]
    mixing = [
        helper.make_node("Constant", [], ["scale"], value=scale),
        helper.make_node("SimplifiedLayerNormalization", *names, axis=-1, epsilon=1e-6),
    ]
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table_for(exported), mixing)
    for keep_apart in (lambda folder: None, external):
        keep_apart(exported)
        graph = assert_valid(exported, skipped=SKIPPED_FOR_EXPORTS)["graph"]
        assert graph["contrib_share"] == pytest.approx(1 / 3)


def test_half_precision(exported):
    mixing = [helper.make_node("Cast", ["rows"], ["last_hidden_state"], to=1)]
    table = table_for(exported).astype(np.float16)
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table, mixing)
    assert assert_valid(exported, skipped=SKIPPED_FOR_EXPORTS)["graph"]["precision"] == "f16"


def test_as_a_command(tmp_path):
    model = parity.onnx_model("all-minilm-l6-v2") / "model.onnx"
    command = [sys.executable, validate_model.__file__, str(model), "--json"]
    file = tmp_path / "report.json"
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(file.read_text())
    for check in report["checks"]:
        assert check["detail"] in done.stdout
    command[2] = str(tmp_path / "nowhere")
    done = subprocess.run([*command, "-"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "") and "nowhere" in done.stderr


# --- Broken folders


def test_truncated_weights(own):
    size = (own / WEIGHTS).stat().st_size
    os.truncate(own / WEIGHTS, size - 1)
    assert_invalid("files", [own / WEIGHTS, size - 1, "truncated"], own)


def test_header_longer_than_the_file(own):
    os.truncate(own / WEIGHTS, 100)
    assert_invalid("files", [own / WEIGHTS, "100 bytes", "the limit being 92"], own)


def test_missing_shard(tiny_models, tmp_path):
    folder = shutil.copytree(tiny_models / "xlm-roberta-sharded", tmp_path / "own")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert_invalid("files", [shard, "there is none"], folder)


def test_shard_outside_the_folder(tiny_models, tmp_path):
    folder = shutil.copytree(tiny_models / "xlm-roberta-sharded", tmp_path / "own")
    set_key(folder / "model.safetensors.index.json", "weight_map", {"a": "../other.safetensors"})
    assert_invalid("files", ["../other.safetensors", "inside"], folder)


def test_pickled_weights(own):
    (own / WEIGHTS).rename(own / "pytorch_model.bin")
    assert_invalid("files", ["no safetensors", "pickle"], own)


def test_module_of_another_package(own):
    modules = json.loads((own / "modules.json").read_text())
    modules[1]["type"] = "os.Pooling"
    (own / "modules.json").write_text(json.dumps(modules))
    assert_invalid("files", ["os.Pooling"], own)


def test_vocabulary_smaller_than_the_tokenizer(own):
    rows = json.loads((own / "config.json").read_text())["vocab_size"]
    set_key(own / "config.json", "vocab_size", rows - 1)
    words = [f"ids up to {rows - 1}", f"vocab_size is {rows - 1}", f"at least {rows}"]
    assert_invalid("tokenizer", words, own)


def test_table_of_another_size(own):
    rows = json.loads((own / "config.json").read_text())["vocab_size"]
    set_key(own / "config.json", "vocab_size", rows + 1)
    assert_invalid("weights", [WORDS, f"[{rows}, 64]", f"[{rows + 1}, 64]"], own)


def test_wrong_pooling_dimension(own):
    set_key(own / "1_Pooling" / "config.json", "word_embedding_dimension", 65)
    assert_invalid("pooling", ["is 65", "64 components"], own)


def test_nan_in_the_weights(own):
    tensors = safetensors.numpy.load_file(own / WEIGHTS)
    name = "encoder.layer.1.attention.self.query.weight"
    tensors[name][3, 5] = np.nan
    safetensors.numpy.save_file(tensors, own / WEIGHTS)
    failed = assert_invalid("weights", [name, "1 values"], own, "--textvec", parity.binary())
    assert "NaN" in failed["run"]


# --- Broken graphs


def test_output_of_another_width(exported):
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table_for(exported, 63))
    assert_invalid("session", ["63", "64 components"], exported)


def external(folder):
    file = folder / "onnx" / "model.onnx"
    onnx.save_model(
        onnx.load(file), file, save_as_external_data=True, location="weights", size_threshold=0
    )
    return file.with_name("weights")


def test_missing_external_data(exported):
    data = external(exported)
    assert_valid(exported, skipped=SKIPPED_FOR_EXPORTS)
    size = data.stat().st_size
    os.truncate(data, size - 1)
    assert_invalid("files", [data, size - 1, f"at least {size}"], exported)
    data.unlink()
    assert_invalid("files", [data, "no such file"], exported)


def test_input_that_nobody_feeds(exported):
    tiny_onnx.write_lookup(
        exported / "onnx" / "model.onnx", table_for(exported), more_inputs=["pixel_values"]
    )
    assert_invalid("session", ["pixel_values"], exported)


def test_operator_that_is_none(exported):
    mixing = [helper.make_node("Frobnicate", ["rows"], ["last_hidden_state"])]
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table_for(exported), mixing)
    assert_invalid("graph", ["Frobnicate"], exported)


def test_nan_in_the_graph(exported):
    table = table_for(exported)
    table[:, 7] = np.nan
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table)
    assert_invalid("run", ["8 of 8", "1 of 64 components"], exported)


def test_zero_vectors(exported):
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", np.zeros_like(table_for(exported)))
    assert_invalid("run", ["8 of 8", "zero"], exported)


def test_padding_that_is_not_masked(exported):
    mixing = [
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1]),
        helper.make_node("Add", ["rows", "mean"], ["last_hidden_state"]),
    ]
    tiny_onnx.write_lookup(exported / "onnx" / "model.onnx", table_for(exported), mixing)
    assert_invalid("padded", ["padded batch", "the limit is 1e-05"], exported)


def test_one_vector_for_all_texts(exported):
    # By the last token, which is [SEP] in each; the graph looks at no token beside it.
    assert_invalid("distinct", ["8 different texts"], exported, "--pooling", "lasttoken")


def test_random_weights_mean_nothing(own):
    arguments = (own, "--semantic", "on")
    assert_invalid("semantic", ["the first must be larger"], *arguments)


def test_graph_of_other_weights(own, request):
    weights = (own / WEIGHTS).read_bytes()
    exported = request.getfixturevalue("exported")
    (exported / WEIGHTS).write_bytes(weights)
    assert_invalid("reference", ["sentence-transformers", "the limit is 2e-06"], exported)


def test_textvec_that_pools_otherwise(tiny_models, tmp_path):
    program = tmp_path / "textvec"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = embed ] && set -- "$@" --pooling cls\nexec "{parity.binary()}" "$@"\n'
    )
    program.chmod(0o755)
    failed = assert_invalid(
        "textvec", ["the limit is 2e-06"], tiny_models / BASE, "--textvec", program
    )
    assert list(failed) == ["textvec"]


def test_textvec_that_fails(own):
    set_key(own / "config.json", "hidden_act", "frobnicate")
    arguments = (own, "--textvec", parity.binary())
    assert_invalid("graph", ["textvec compile", "frobnicate"], *arguments)
