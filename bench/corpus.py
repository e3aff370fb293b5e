#!/usr/bin/env python3
# In: the textvec binary, a model folder, WordNet's glosses. Out: how long a corpus takes through
# textvec and through sentence-transformers, round about, on the same two threads.
"""Times a corpus through `textvec embed` and through sentence-transformers, and prints a table.

textvec's time is that of the whole process: start, load, read, write. The rival's is encode() alone,
in a process that has loaded and warmed it. Rounds alternate, so that both meet the same machine.

usage: python bench/corpus.py [--texts N] [--rounds N] [--json FILE]
with the Python that scripts/setup --tests made; TEXTVEC_BINARY names another binary.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import models  # noqa: F401  (beside this file; it knows where scripts/ and tests/parity/ are)
import numpy as np
import parity
from machine import THREADS, processor, seconds_of

RIVAL_BATCH_SIZES = (8, 32, 128)  # the fastest in a trial round is its setting


def textvec_run(model, texts_file, output):
    command = [parity.binary(), "embed", "--model", model, "--threads", THREADS]
    command += ["--input", texts_file, "--output", output]
    subprocess.run(list(map(str, command)), check=True)
    return np.load(output)


def load_rival(model):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    return SentenceTransformer(str(model), device="cpu", local_files_only=True)


def measure(texts, rounds):
    model = parity.minilm()
    rival = load_rival(model)

    def encode(batch_size, some):
        return rival.encode(some, batch_size=batch_size, normalize_embeddings=True)

    trial = texts[: max(256, len(texts) // 5)]
    encode(32, trial)
    batch_size = min(RIVAL_BATCH_SIZES, key=lambda size: seconds_of(lambda: encode(size, trial))[0])
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        texts_file = parity.write_texts(folder, texts)
        output = pathlib.Path(folder) / "vectors.npy"
        textvec_run(model, texts_file, output)
        for _ in range(rounds):
            seconds, vectors = seconds_of(lambda: textvec_run(model, texts_file, output))
            ours.append(seconds)
            seconds, expected = seconds_of(lambda: encode(batch_size, texts))
            theirs.append(seconds)
    tokens = [len(ids) for ids in parity.tokenize(model, texts)]
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {THREADS} threads",
        "date": datetime.date.today().isoformat(),
        "texts": len(texts),
        "tokens_per_text": round(statistics.mean(tokens), 1),
        "rival_batch_size": batch_size,
        "seconds": {"textvec": ours, "sentence-transformers": theirs},
        "max_difference": float(np.abs(vectors - expected).max()),
    }


def table(result):
    texts = result["texts"]
    lines = [
        f"{result['machine']}, {result['date']}; {texts} WordNet glosses, "
        f"{result['tokens_per_text']} tokens a text; largest difference "
        f"{result['max_difference']:.1e}",
        "",
        "| | texts/s (median) | slowest to fastest round |",
        "|---|---|---|",
    ]
    for name, seconds in result["seconds"].items():
        rates = sorted(texts / value for value in seconds)
        lines.append(
            f"| {name} | {statistics.median(rates):.0f} | {rates[0]:.0f} to {rates[-1]:.0f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="also write everything there")
    arguments = parser.parse_args()
    result = measure(parity.glosses(arguments.texts), arguments.rounds)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
