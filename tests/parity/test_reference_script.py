# Goal: scripts/make_reference.py, as a user runs it, writes what its help says, and the same bytes
# every time.
import json
import subprocess
import sys

import make_reference
import numpy as np
import parity

SCRIPT = make_reference.__file__


def run(*arguments):
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_model_folder(minilm, tmp_path):
    texts = parity.glosses(20) + ["", "two\nlines", "nul \0 inside"]
    source = parity.write_texts(tmp_path, texts)
    output, again = tmp_path / "a.npz", tmp_path / "b.npz"
    arguments = ["--model", str(minilm), "--texts", str(source), "--output"]
    done = run(*arguments, output)
    assert done.returncode == 0, done.stderr
    make_reference.main([*arguments, str(again)])
    assert output.read_bytes() == again.read_bytes()

    with np.load(output) as file:
        about = json.loads(bytes(file["about"]))
        stored, offsets = bytes(file["texts"]), file["text_offsets"].tolist()
        vectors = file["vectors"]
    assert about["versions"] == make_reference.library_versions()
    assert about["model_sha256"] == make_reference.hash_model(minilm)
    assert about["texts_sha256"] == make_reference.hash_texts(texts)
    assert [stored[a:b].decode() for a, b in zip(offsets, offsets[1:])] == texts
    assert np.array_equal(vectors, parity.reference(minilm, texts).vectors)


def test_onnx_file(tmp_path):
    folder = parity.onnx_model("bge-small-en-v1.5")
    texts = parity.glosses(5)
    source = parity.write_texts(tmp_path, texts)
    output = tmp_path / "reference.npz"
    onnx = folder / "model.onnx"
    done = run("--onnx", onnx, "--pooling", "cls", "--texts", source, "--output", output)
    assert done.returncode == 0, done.stderr
    expected = parity.reference_onnx(folder, texts, pooling="cls")
    ours = parity.read_reference(output)
    assert ours.ids == expected.ids
    assert np.array_equal(ours.vectors, expected.vectors)


def test_bad_line_is_named(minilm, tmp_path):
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "good"}\n{"other": 1}\n')
    done = run("--model", minilm, "--texts", source, "--output", tmp_path / "x.npz")
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert not (tmp_path / "x.npz").exists()
