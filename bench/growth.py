#!/usr/bin/env python3
# In: the textvec binary, MiniLM, WordNet's glosses. Out: the rate and the memory of a small corpus,
# of a large one, and of a larger one.
"""Embeds ever more texts, and prints how many a second and how much memory at most.

Each corpus has texts like the others'; what a process takes to
start (its time for one text) is taken off. Rounds go over all sizes in turn.

usage: python bench/growth.py [--texts N...] [--rounds N] [--precision f32|int8] [--json FILE]
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
import time

import models  # noqa: F401  (beside this file; it knows where tests/parity/ is)
import parity
from machine import THREADS, processor


def run(model, precision, texts_file, output):
    """Seconds, and the bytes that the process held at most."""
    command = [parity.binary(), "embed", "--model", model, "--threads", THREADS]
    command += ["--precision", precision, "--input", texts_file, "--output", output]
    begin = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"textvec embed: exit code {process.returncode}")
    return seconds, usage.ru_maxrss << 10  # KiB on Linux


def measure(counts, rounds, precision):
    model = parity.minilm()
    glosses = parity.glosses(max(counts))  # a sample, in no order
    tokens = [len(ids) for ids in parity.tokenize(model, glosses)]
    measured = {count: [] for count in [1, *counts]}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for count in measured:
            place = pathlib.Path(folder) / str(count)
            place.mkdir()
            files[count] = parity.write_texts(place, glosses[:count])
        output = pathlib.Path(folder) / "vectors.npy"
        run(model, precision, files[counts[0]], output)
        for _ in range(rounds):
            for count, texts_file in files.items():
                measured[count].append(run(model, precision, texts_file, output))
    start = statistics.median(seconds for seconds, _ in measured.pop(1))
    rows = [
        {
            "texts": count,
            "tokens_per_text": statistics.mean(tokens[:count]),
            "seconds": [seconds - start for seconds, _ in runs],
            "bytes_max": max(most for _, most in runs),
        }
        for count, runs in measured.items()
    ]
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {THREADS} threads",
        "date": datetime.date.today().isoformat(),
        "precision": precision,
        "start_seconds": start,
        "rows": rows,
    }


def table(result):
    lines = [
        f"{result['machine']}, {result['date']}; all-MiniLM-L6-v2, {result['precision']}, WordNet "
        f"glosses; {result['start_seconds']:.2f} s to start taken off",
        "",
        "| texts | tokens a text | texts/s (median) | tokens/s | slowest to fastest | MiB at most |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        rates = sorted(row["texts"] / seconds for seconds in row["seconds"])
        rate = statistics.median(rates)
        lines.append(
            f"| {row['texts']:,} | {row['tokens_per_text']:.1f} | {rate:.0f} "
            f"| {rate * row['tokens_per_text']:,.0f} | {rates[0]:.0f} to {rates[-1]:.0f} "
            f"| {row['bytes_max'] >> 20} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="f32", choices=["f32", "int8"])
    parser.add_argument("--json", help="also write everything there")
    arguments = parser.parse_args()
    result = measure(arguments.texts, arguments.rounds, arguments.precision)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
