# In: nothing. Out: what this machine is, and the most that its memory and its arithmetic give.
"""What a table of times needs beside it: the processor, the cores that were used, and the roofline.

The roofline is measured, not looked up: bytes a second that all threads together read from memory,
and the fastest float32 matrix product of the libraries at hand.
"""

import concurrent.futures
import os
import pathlib
import platform
import time

THREADS = 2
BANDWIDTH_BYTES = 512 << 20  # of each thread, far more than a cache holds
BANDWIDTH_ROUNDS = 4
GEMM_SIZES = ((1024, 1024, 3072), (2048, 2048, 2048), (256, 1024, 3072))
INSTRUCTION_SETS = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip


def seconds_of(work):
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def cpuinfo(*names):
    """The first line of /proc/cpuinfo under one of the names; empty where there is none."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def processor():
    return cpuinfo("model name") or platform.processor()


def instruction_sets():
    known = cpuinfo("flags", "Features").split()
    return [name for name in INSTRUCTION_SETS if name in known]


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def cores_to_use(count):
    """That many of the processors that this process may use, no two on one core if it can be.

    None where the system lets nobody choose (macOS).
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    first_of_core, others, seen = [], [], set()
    for number in allowed:
        topology = pathlib.Path(f"/sys/devices/system/cpu/cpu{number}/topology")
        try:
            core = (topology / "thread_siblings_list").read_text().strip()
        except OSError:
            core = str(number)
        (others if core in seen else first_of_core).append(number)
        seen.add(core)
    chosen = (first_of_core + others)[:count]
    if len(chosen) < count:
        raise ValueError(f"{count} cores are wanted, and this process may use {len(allowed)}")
    return chosen


# --- The roofline


def bandwidth(threads=THREADS):
    """Bytes a second that the threads together read from memory: the best of some rounds."""
    import numpy as np

    arrays = [np.ones(BANDWIDTH_BYTES // 4, np.float32) for _ in range(threads)]
    best = 0.0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in range(BANDWIDTH_ROUNDS):
            for read in (np.max, np.sum):  # neither is the faster one everywhere
                seconds, _ = seconds_of(lambda: list(pool.map(read, arrays)))
                best = max(best, threads * BANDWIDTH_BYTES / seconds)
    return best


def products_of(threads):
    """name -> a function that multiplies two float32 matrices with so many threads."""
    import numpy as np
    import onnxruntime
    import torch
    from onnx import TensorProto, helper

    torch.set_num_threads(threads)
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in "abc"]
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", made[:2], made[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {
        "PyTorch": lambda a, b: torch.matmul(torch.from_numpy(a), torch.from_numpy(b)),
        "numpy": np.matmul,
        "ONNX Runtime": lambda a, b: session.run(None, {"a": a, "b": b}),
    }


def gemm_peak(threads=THREADS, seconds=1.0):
    """The most float32 operations a second of each library: its best size, its best run."""
    import numpy as np

    best = {}
    for name, product in products_of(threads).items():
        for rows, depth, columns in GEMM_SIZES:
            a = np.ones((rows, depth), np.float32)
            b = np.ones((depth, columns), np.float32)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                taken, _ = seconds_of(lambda: product(a, b))
                best[name] = max(best.get(name, 0.0), 2 * rows * depth * columns / taken)
    return best
