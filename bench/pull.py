#!/usr/bin/env python3
"""In: a built textvec, and curl. Out: how fast and with how much memory each brings the same file.

usage: pull.py [--bytes N] [--rounds N] [--bytes-per-second N] [--textvec FILE]

The hub is tests/service/fake_hub.py on this machine's loopback, so that the network is none. textvec
hashes what it writes and waits until the disk has it. curl hashes nothing, and is measured alone and
with `sync FILE` behind it. --bytes-per-second limits each connection, as a distant server does.
Rounds alternate; the median counts. Memory is read from /proc, on Linux only.
"""
import argparse
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/service"))
from fake_hub import FakeHub, file_of  # noqa: E402

NAME = "owner/model"


def memory_mib(process):
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0


def run(command, **environment):
    """Seconds, and the most memory in MiB that the process ever held."""
    begun = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **environment},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memory = 0
    while process.poll() is None:
        memory = max(memory, memory_mib(process.pid))
        time.sleep(0.005)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return time.monotonic() - begun, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes-per-second", type=int, help="of each connection")
    parser.add_argument("--textvec", default=str(ROOT / "build/release/textvec"))
    parser.add_argument("--folder", help="the disk to write to (default: the temporary folder)")
    arguments = parser.parse_args()

    block = random.Random(1).randbytes(1 << 24)
    weights = file_of((block * (arguments.bytes // len(block) + 1))[:arguments.bytes])
    results = {"curl": [], "curl, then sync": [], "textvec": []}
    with FakeHub() as hub, tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        hub.bytes_per_second = arguments.bytes_per_second
        commit = hub.add(NAME, {"config.json": b'{"model_type":"bert"}', "tokenizer.json": b"{}",
                                "model.safetensors": weights})
        url = f"{hub.url}/{NAME}/resolve/{commit}/model.safetensors"
        for index in range(arguments.rounds):
            file = pathlib.Path(folder, "file")
            download = run(["curl", "--silent", "--fail", "--location", "--output", str(file), url])
            written, _ = run(["sync", str(file)])
            results["curl"].append(download)
            results["curl, then sync"].append((download[0] + written, download[1]))
            file.unlink()
            home = pathlib.Path(folder, f"home-{index}")
            environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)}
            results["textvec"].append(run([arguments.textvec, "pull", NAME], **environment))
            subprocess.run([arguments.textvec, "remove", NAME], check=True, capture_output=True,
                           env={**os.environ, **environment})
    rates = {}
    for name, runs in results.items():
        seconds = [second for second, _ in runs]
        rates[name] = arguments.bytes / statistics.median(seconds) / 1e6
        print(f"{name}: {rates[name]:.0f} MB/s (slowest {arguments.bytes / max(seconds) / 1e6:.0f}, "
              f"fastest {arguments.bytes / min(seconds) / 1e6:.0f}), "
              f"{max(memory for _, memory in runs):.0f} MiB at most")
    for name in ("curl", "curl, then sync"):
        print(f"textvec to {name}: {rates['textvec'] / rates[name]:.2f}")


if __name__ == "__main__":
    main()
