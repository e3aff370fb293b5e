# In: texts and a model. Out: textvec's ids and vectors, the reference's, and the gates that compare
# them. A prerequisite that is missing fails the test and says what to do: nothing is skipped.
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import subprocess
import tempfile

import make_reference
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 2e-6  # per component of a vector of length 1
NORM_TOLERANCE = 1e-6
RUN_SECONDS_MAX = 300
REFERENCES_MAX = 400  # files kept in the cache, newest first


# --- Where things are


def cache_folder():
    if "TEXTVEC_CACHE" in os.environ:
        return pathlib.Path(os.environ["TEXTVEC_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "textvec"


def existing(path, advice):
    if not path.exists():
        pytest.fail(f"{path} is missing: {advice}")
    return path


def binary():
    path = os.environ.get("TEXTVEC_BINARY", ROOT / "build" / "release" / "textvec")
    return existing(pathlib.Path(path), "build it, or name it in TEXTVEC_BINARY")


def minilm():
    folder = cache_folder() / "models" / "sentence-transformers" / "all-MiniLM-L6-v2"
    return existing(folder, "run scripts/setup")


# The exports that scripts/setup --tests fetches, and how each is pooled.
ONNX_MODELS = {
    "all-minilm-l6-v2": "mean",
    "bge-small-en-v1.5": "cls",
    "e5-small-v2": "mean",
    "all-minilm-l6-v2-q": "mean",
    "bge-small-en-v1.5-q": "cls",
    "e5-small-v2-q": "mean",
}


def onnx_model(name):
    folder = pathlib.Path(os.environ.get("TEXTVEC_TEST_MODELS", cache_folder() / "test-models"))
    return existing(folder / name, "run scripts/setup --tests, or set TEXTVEC_TEST_MODELS")


# --- Texts


def other_scripts():
    """200 texts in many scripts and unpleasant forms: tests/data/README.md."""
    return make_reference.read_texts(ROOT / "tests" / "data" / "texts" / "other_scripts.jsonl")


def wordnet_glosses(part_of_speech):
    folder = pathlib.Path(os.environ.get("TEXTVEC_WORDNET", "/usr/share/wordnet"))
    path = existing(folder / f"data.{part_of_speech}", "install wordnet-base")
    with open(path, encoding="utf-8", errors="replace") as lines:
        # The licence stands before the data, indented.
        return [line.split("|", 1)[1].strip() for line in lines if not line.startswith(" ")]


@functools.cache
def glosses(count):
    """The same `count` different glosses of WordNet every time."""
    everything = [
        gloss for part in ("noun", "verb", "adj", "adv") for gloss in wordnet_glosses(part)
    ]
    return random.Random(0).sample(list(dict.fromkeys(everything)), count)


def tiny_model_texts():
    """The tokenizers of the tiny models are learnt from half of them."""
    return glosses(40) + other_scripts()


# --- textvec


@functools.cache
def own_cache():
    """A fresh cache for the binary under test, so that no graph of an older build runs."""
    return tempfile.TemporaryDirectory(prefix="textvec-parity-")


def textvec(*arguments):
    """Runs the command and returns its standard output."""
    command = [str(binary()), *map(str, arguments)]
    environment = os.environ | {"TEXTVEC_CACHE": own_cache().name}
    done = subprocess.run(command, capture_output=True, timeout=RUN_SECONDS_MAX, env=environment)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace")[-2000:]
        raise AssertionError(f"{' '.join(command)}\nexit code {done.returncode}: {message}")
    return done.stdout.decode()


def write_texts(folder, texts):
    path = pathlib.Path(folder) / "texts.jsonl"
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return path


def embed(model, texts, *options):
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "vectors.npy"
        arguments = ("--model", model, "--input", write_texts(folder, texts), *options)
        textvec("embed", *arguments, "--format", "npy", "--output", output)
        vectors = np.load(output)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(texts)
    return vectors


def tokenize(model, texts, *options):
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--model", model, "--input", write_texts(folder, texts), *options)
        lines = textvec("tokenize", *arguments).splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["index"] for answer in answers] == list(range(len(texts)))
    return [answer["ids"] for answer in answers]


def info(model):
    return json.loads(textvec("info", "--json", "--model", model))


# --- The reference, kept between runs


@dataclasses.dataclass(frozen=True)
class Reference:
    ids: list
    vectors: np.ndarray


def read_reference(path):
    with np.load(path) as file:
        ids, offsets = file["ids"].tolist(), file["offsets"].tolist()
        rows = [ids[begin:end] for begin, end in zip(offsets, offsets[1:])]
        return Reference(rows, file["vectors"])


def forget_oldest(folder):
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[REFERENCES_MAX:]:
        path.unlink(missing_ok=True)


def cached(make, texts, model_sha256, settings):
    """The result of make(), from the cache when all that it depends on is as it was."""
    script = pathlib.Path(make_reference.__file__).read_bytes()
    key = [
        hashlib.sha256(script).hexdigest(),
        make_reference.library_versions(),
        model_sha256,
        make_reference.hash_texts(texts),
        settings,
    ]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / "reference" / f"{name}.npz"
    if not path.is_file():
        ids, vectors = make()
        about = {"model_sha256": model_sha256, "settings": settings}
        make_reference.write(path, texts, ids, vectors, **about)
        forget_oldest(path.parent)
    return read_reference(path)


hash_model = functools.cache(make_reference.hash_model)


def reference(model, texts, **settings):
    """What sentence-transformers gives for a model folder."""
    return cached(
        lambda: make_reference.with_sentence_transformers(model, texts, **settings),
        texts,
        hash_model(model),
        settings,
    )


def reference_onnx(folder, texts, **settings):
    """What Python's ONNX Runtime gives for folder/model.onnx, one text at a time."""
    files = (folder / "model.onnx", folder / "tokenizer.json")
    return cached(
        lambda: make_reference.with_onnxruntime(*files, texts, **settings),
        texts,
        make_reference.hash_onnx(*files),
        settings,
    )


# --- The gates


def assert_same_ids(ours, expected, texts):
    assert len(ours) == len(expected)
    wrong = [index for index, ids in enumerate(ours) if ids != expected[index]]
    if wrong:
        first = wrong[0]
        raise AssertionError(
            f"{len(wrong)} of {len(texts)} texts have other ids; the first is text {first}, "
            f"{texts[first][:80]!r}: {ours[first][:20]} instead of {expected[first][:20]}"
        )


def assert_close(ours, expected, texts, tolerance=TOLERANCE):
    """Every component within `tolerance`; what is not a number is not close to anything."""
    assert ours.shape == expected.shape
    difference = np.abs(ours.astype(np.float64) - expected.astype(np.float64)).max(axis=1)
    wrong = np.flatnonzero(~(difference <= tolerance))
    if wrong.size:
        worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
        raise AssertionError(
            f"{wrong.size} of {len(texts)} vectors differ by more than {tolerance:g}; the worst, "
            f"by {difference[worst]:.3g}, is text {worst}, {texts[worst][:80]!r}"
        )


def assert_unit_length(vectors, texts):
    off = np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1)
    worst = int(np.argmax(off))
    assert off[worst] <= NORM_TOLERANCE, (
        f"the length of a vector is off by {off[worst]:.3g}: {texts[worst][:80]!r}"
    )
