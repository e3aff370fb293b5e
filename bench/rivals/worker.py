# In: a job as JSON on standard input. Out: how long it took, as the last line of standard output.
"""Runs one rival in a process of its own: loads it, warms it, measures it, and ends.

The job: adapter, files, load (settings), threads, and workloads: name, texts (a file, a line each),
call (settings; null: try all of the adapter's), seconds, vectors (a file to write, or null).
"""

import json
import pathlib
import sys
import time

import adapters
import numpy as np

WARM_ENOUGH_SECONDS = 5  # the works before it have warmed the process; see docs/performance.md


def memory_mib(process="self"):
    """(held now, most ever held) in MiB; zeros where /proc is not."""
    held = {"VmRSS": 0, "VmHWM": 0}
    try:
        for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in held:
                held[name] = int(value.split()[0]) / 1024
    except OSError:
        pass
    return held["VmRSS"], held["VmHWM"]


def times_of(work, seconds):
    """Warm times, in seconds: one run is not counted. Returns what the last run returned, too."""
    times, end = [], time.perf_counter() + seconds
    warm = False
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        result = work()
        taken = time.perf_counter() - begin
        if warm or taken > WARM_ENOUGH_SECONDS:
            times.append(taken)
        else:
            warm = True
            end = time.perf_counter() + seconds
    return times, result


def measure(adapter, workload):
    texts = pathlib.Path(workload["texts"]).read_text(encoding="utf-8").splitlines()
    given = workload["call"]
    answers = []
    for call in adapter.call_settings(len(texts)) if given is None else [given]:
        times, vectors = times_of(lambda: adapter.embed(texts, **call), workload["seconds"])
        answers.append({"name": workload["name"], "call": call, "seconds": times})
    if workload.get("vectors"):
        np.save(workload["vectors"], vectors)
    held, most = memory_mib(getattr(adapter, "pid", "self"))
    answers[-1] |= {"memory_mib": held, "peak_memory_mib": most}
    return answers


def main():
    job = json.load(sys.stdin)
    begin = time.perf_counter()
    adapter = adapters.ADAPTERS[job["adapter"]]()
    adapter.load(job["files"], job["load"], job["threads"])
    answer = {"load_seconds": time.perf_counter() - begin, "workloads": []}
    try:
        for workload in job["workloads"]:
            answer["workloads"] += measure(adapter, workload)
        answer["versions"] = adapter.versions()
    finally:
        getattr(adapter, "close", lambda: None)()
    print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
