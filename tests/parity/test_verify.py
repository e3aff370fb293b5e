# Goal: textvec verify says of real references what the other tests of this folder measure.
import json

import make_reference
import parity
import pytest


@pytest.mark.parametrize(
    "options",
    [[], ["--no-normalize"], ["--tokens-max", "256"], ["--threads", "1"]],
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
    ours = parity.embed(minilm, texts).astype("float64")
    difference = abs(ours - reference.vectors).max()
    assert report["difference_max"] == pytest.approx(difference, abs=5e-8)


def test_an_onnx_file_agrees_with_its_reference(tmp_path):
    folder = parity.onnx_model("bge-small-en-v1.5")
    source = parity.write_texts(tmp_path, parity.glosses(10))
    output = tmp_path / "reference.npz"
    arguments = ["--texts", str(source), "--output", str(output)]
    make_reference.main(["--onnx", str(folder / "model.onnx"), "--pooling", "cls", *arguments])
    report = json.loads(
        parity.textvec("verify", "--json", "--model", folder, "--reference", output)
    )
    assert report["passed"] is True
    assert report["reference"]["settings"]["pooling"] == "cls"
