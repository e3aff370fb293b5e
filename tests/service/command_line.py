# In: arguments and standard input for the textvec binary. Out: what it printed, and its exit code.
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TEXTVEC_BINARY", str(ROOT / "build/release/textvec"))
CACHE = pathlib.Path(
    os.environ.get("TEXTVEC_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "textvec"
)
MINILM = os.environ.get(
    "TEXTVEC_MODEL_FOLDER", str(CACHE / "models/sentence-transformers/all-MiniLM-L6-v2")
)
SECONDS_MAX = 120  # of one command; a hang fails its test and not the whole run


@dataclasses.dataclass
class Answer:
    code: int
    out: bytes
    err: str

    def lines(self):
        """The objects of jsonl output; fails when anything else was printed."""
        return [json.loads(line) for line in self.out.decode().splitlines()]

    def vectors(self):
        return numpy.array([line["embedding"] for line in self.lines()], dtype=numpy.float32)


def environment(changes):
    merged = dict(os.environ, **changes)
    return {name: value for name, value in merged.items() if value is not None}


def restore_interrupt():
    # A shell starts background jobs with SIGINT ignored, which every child would inherit.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def limit_file_size(size):
    """For start(): no file that the command writes grows beyond `size`, as on a full disk."""

    def limit():
        restore_interrupt()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() fails, the process goes on
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def start(*arguments, model=MINILM, env=None, preexec_fn=restore_interrupt, **options):
    """Starts a command; `model` None leaves --model out."""
    command = [BINARY, *map(str, arguments)]
    if model is not None:
        command[2:2] = ["--model", str(model)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, env=environment(env or {}), preexec_fn=preexec_fn, **options)


@contextlib.contextmanager
def running(*arguments, **options):
    """A command with three pipes, which ends with the block; a hang fails whoever reads them."""
    process = start(*arguments, **{"stdin": subprocess.PIPE, **options})
    alarm = threading.Timer(SECONDS_MAX, process.kill)
    alarm.start()
    with process, contextlib.ExitStack() as ending:
        ending.callback(process.kill)
        ending.callback(alarm.cancel)
        yield process


def finish(process, given=None):
    try:
        out, err = process.communicate(given, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Answer(process.returncode, out or b"", (err or b"").decode())


def run(*arguments, given=b"", **options):
    """Runs a command to its end with `given` on standard input."""
    return finish(start(*arguments, **{"stdin": subprocess.PIPE, **options}), given)


def wait_until(condition):
    """For what no pipe tells: a file's content, a buffer's level."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def lines_of(texts):
    return "".join(text + "\n" for text in texts).encode()


def jsonl(*objects):
    return "".join(json.dumps(item) + "\n" for item in objects).encode()


def assert_refused(answer, code, *words):
    """Nothing on standard output, and a message with each of `words`."""
    assert (answer.code, answer.out) == (code, b""), answer.err
    for word in words:
        assert str(word) in answer.err


def assert_unit(vectors):
    numpy.testing.assert_allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-6)
