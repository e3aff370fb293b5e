# Goal: textvec verify says of real references what the other tests of this folder measure.
import json

import make_reference
import parity
import pytest


@pytest.mark.parametrize(
    "options",
    [[], ["--no-normalize"], ["--tokens-max", "256"], ["--threads", "1"], ["--dimensions", "100"]],
    ids=lambda options: " ".join(options) or "plain",
)
def test_minilm_agrees_with_its_reference(minilm, tmp_path, options):
    texts = parity.glosses(30) + parity.other_scripts()[:30] + ["", "word " * 400]
    source = parity.write_texts(tmp_path, texts)
    output = tmp_path / "reference.npz"
    arguments = ["--model", str(minilm), "--texts", str(source), "--output", str(output)]
    make_reference.main([*arguments, *options])
    report = json.loads(
        parity.textvec("verify", "--json", "--model", minilm, "--reference", output)
    )
    assert report["passed"] is True
    assert (report["texts"], report["ids_differ"]) == (len(texts), 0)

    reference = parity.read_reference(output)
    # MiniLM normalises by a module of its own, whatever was asked for.
    dimension = reference.vectors.shape[1]
    ours = parity.embed(minilm, texts, "--dimensions", dimension).astype("float64")
    difference = abs(ours - reference.vectors).max()
    assert report["difference_max"] == pytest.approx(difference, abs=5e-8)


@pytest.mark.parametrize("options", [["--role", "query"], ["--instruction", "Find a rhyme"]])
def test_a_query_agrees_with_its_reference(models, tmp_path, options):
    source = parity.write_texts(tmp_path, parity.glosses(20))
    output = tmp_path / "reference.npz"
    arguments = ["--model", str(models / "qwen3-4-to-1"), "--texts", str(source)]
    make_reference.main([*arguments, "--output", str(output), *options])
    verified = parity.textvec(
        "verify", "--json", "--model", models / "qwen3-4-to-1", "--reference", output
    )
    assert json.loads(verified)["passed"] is True


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens"])
def test_an_onnx_file_agrees_with_its_reference(tmp_path, pooling):
    folder = parity.onnx_model("bge-small-en-v1.5")
    source = parity.write_texts(tmp_path, parity.glosses(10))
    output = tmp_path / "reference.npz"
    arguments = ["--texts", str(source), "--output", str(output)]
    make_reference.main(["--onnx", str(folder / "model.onnx"), "--pooling", pooling, *arguments])
    report = json.loads(
        parity.textvec("verify", "--json", "--model", folder, "--reference", output)
    )
    assert report["passed"] is True
    assert report["reference"]["settings"]["pooling"] == pooling
