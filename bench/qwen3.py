#!/usr/bin/env python3
# In: the textvec binary, Qwen3's tokenizer, WordNet's glosses. Out: a full-size Qwen3-Embedding
# through textvec, held against transformers, and its speed beside Python's ONNX Runtime.
"""Measures a Qwen3-Embedding-0.6B with random weights, and prints a table.

Makes the model, its plain export and the compiled graphs in WORK (8 GB in all) when they are not
there. First 20 texts go through textvec and through transformers in float32: with f32 no component
may differ by more than 5e-6, else the exit code is 1. Then rounds alternate between
`textvec bench`, for each precision, and Python's onnxruntime on the plain torch.onnx export, two
threads each, warm. Beside the times stands the least that reading every weight once takes: their
bytes through the memory bandwidth measured here.

usage: python bench/qwen3.py --work FOLDER [--rounds N] [--json FILE]
with the Python that scripts/setup --tests made; TEXTVEC_BINARY names another binary.
"""

import argparse
import datetime
import gc
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import machine
import models  # beside this file; it knows where scripts/ and tests/parity/ are
import numpy as np
import parity

THREADS = machine.THREADS
TOLERANCE = 5e-6
TEXTS = 20
TEXT_TOKENS_MAX = 600
PLAIN = "plain ONNX Runtime"
BYTES_OF_WEIGHT = {"f32": 4, "f16": 2, "int8": 1}
NOT_IN_THIS_VERSION = 2  # textvec's exit code for it, which other mistakes share


# --- The model and its plain export


def prepare(options):
    """Returns the model's folder and the plain export's file."""
    work = pathlib.Path(options.work)
    model = pathlib.Path(options.model or work / "model")
    plain = pathlib.Path(options.plain or work / "plain" / "model.onnx")
    models.make_qwen3_in(model)
    if not plain.exists():
        models.export(model, plain)
        gc.collect()
    # The compiled graph is as large as the model; the user's cache is no place for it.
    os.environ["TEXTVEC_CACHE"] = str(work / "cache")
    return model, plain


# --- Parity


def parity_texts(tokenizer):
    """From some tokens to TEXT_TOKENS_MAX, each longer than the one before by the same factor."""
    words = " ".join(parity.glosses(400)).split(" ")
    texts = []
    for tokens in np.geomspace(3, TEXT_TOKENS_MAX, TEXTS).round().astype(int):
        count = int(tokens)
        while len(tokenizer.encode(" ".join(words[:count])).ids) > tokens:
            count -= 1
        texts.append(" ".join(words[:count]))
        words = words[count:]
    return texts


def with_transformers(model, rows):
    import torch

    transformer = models.load_transformer(model)
    vectors = []
    for ids in rows:
        with torch.inference_mode():
            given = torch.tensor([ids])
            hidden = transformer(input_ids=given, use_cache=False).last_hidden_state[0, -1]
        vector = hidden.double().numpy()
        vectors.append(vector / np.linalg.norm(vector))
    return np.array(vectors)


def textvec(command, *arguments):
    """Standard output, or None when textvec does not know the precision."""
    command = [parity.binary(), command, *arguments, "--threads", THREADS]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    error = done.stderr.decode(errors="replace").strip()
    if done.returncode == NOT_IN_THIS_VERSION and "precision" in error:
        print(error, file=sys.stderr)
        return None
    if done.returncode != 0:
        raise ValueError(f"{command[1]}: exit code {done.returncode}: {error[-2000:]}")
    return done.stdout


def compare(model, precisions):
    """Largest difference and smallest cosine of each precision that this textvec knows."""
    tokenizer = models.tokenizer_of(model)
    texts = parity_texts(tokenizer)
    rows = [tokenizer.encode(text).ids for text in texts]
    expected = with_transformers(model, rows)
    gc.collect()
    compared = {}
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "vectors.npy"
        given = ("--model", model, "--input", parity.write_texts(folder, texts))
        for precision in precisions:
            if textvec("embed", *given, "--output", output, "--precision", precision) is None:
                continue
            vectors = np.load(output).astype(np.float64)
            compared[precision] = {
                "max_difference": float(np.abs(vectors - expected).max()),
                "min_cosine": float((vectors * expected).sum(axis=1).min()),
            }
    return {"tokens": [len(ids) for ids in rows], "by_precision": compared}


# --- Speed


def open_plain(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plain_ms(session, shape, seconds):
    ids = np.random.default_rng(0).integers(0, 100_000, shape)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    session.run(None, given)
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(machine.seconds_of(lambda: session.run(None, given))[0])
    return 1000 * statistics.median(times)


def textvec_ms(model, precision, shape, seconds):
    size = "x".join(map(str, shape))
    given = ("--model", model, "--precision", precision, "--shape", size, "--seconds", seconds)
    answer = json.loads(textvec("bench", *given, "--json"))
    return answer["shapes"][0]["median_ms"]


def measure(model, plain, precisions, options):
    session = open_plain(plain)
    times = {name: [] for name in [*(f"textvec, {name}" for name in precisions), PLAIN]}
    for _ in range(options.rounds):
        for precision in precisions:
            milliseconds = textvec_ms(model, precision, options.shape, options.seconds)
            times[f"textvec, {precision}"].append(milliseconds)
        times[PLAIN].append(plain_ms(session, options.shape, options.seconds))
    return times


# --- The report


def table(result):
    texts, tokens = result["shape"]
    compared = result["parity"]["by_precision"]
    lengths = result["parity"]["tokens"]
    lines = [
        f"{result['machine']}, {result['date']}; {texts} text(s) of {tokens} tokens, "
        f"{result['weights'] / 1e6:.0f} M weights read a pass, memory read at "
        f"{result['bandwidth'] / 1e9:.1f} GB/s. Against transformers: {len(lengths)} texts of "
        f"{min(lengths)} to {max(lengths)} tokens.",
        "",
        "| | ms (median of rounds) | fastest to slowest round | times as fast | weights alone, ms "
        "| largest difference | smallest cosine |",
        "|---|---|---|---|---|---|---|",
    ]
    slow = statistics.median(result["ms"][PLAIN])
    for name, values in result["ms"].items():
        precision = name.removeprefix("textvec, ") if name != PLAIN else "f32"
        weights = result["weights"] * BYTES_OF_WEIGHT[precision]
        median = statistics.median(values)
        cells = [
            name,
            f"{median:.0f}",
            f"{min(values):.0f} to {max(values):.0f}",
            f"{slow / median:.1f}",
            f"{1000 * weights / result['bandwidth']:.0f}",
        ]
        if name == PLAIN:
            cells += ["", ""]
        else:
            agreed = compared[precision]
            cells += [f"{agreed['max_difference']:.1e}", f"{agreed['min_cosine']:.6f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shape_of(text):
    texts, tokens = map(int, text.split("x"))
    if texts < 1 or tokens < 1:
        raise ValueError
    return texts, tokens


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", required=True, metavar="FOLDER", help="made when it is missing")
    parser.add_argument("--model", metavar="FOLDER", help="(WORK/model)")
    parser.add_argument("--plain", metavar="FILE", help="(WORK/plain/model.onnx)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement in a round")
    parser.add_argument("--shape", type=shape_of, default=(1, 12), metavar="TEXTSxTOKENS")
    parser.add_argument(
        "--precision", nargs="+", default=["f32"], choices=tuple(BYTES_OF_WEIGHT)
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything there")
    return parser.parse_args()


def main():
    options = parse_arguments()
    model, plain = prepare(options)
    compared = compare(model, options.precision)
    result = {
        "machine": f"{machine.processor()}, {os.cpu_count()} cores, {THREADS} threads",
        "date": datetime.date.today().isoformat(),
        "shape": options.shape,
        "parity": compared,
        "weights": models.weights_per_pass(model),
        "bandwidth": machine.bandwidth(),
        "ms": measure(model, plain, list(compared["by_precision"]), options),
    }
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    exact = compared["by_precision"].get("f32")
    if exact and not exact["max_difference"] <= TOLERANCE:
        sys.exit(f"qwen3.py: f32 differs by {exact['max_difference']:.2g}; limit {TOLERANCE:g}")


if __name__ == "__main__":
    main()
