# In: arguments and standard input for the textvec binary. Out: what it printed, and its exit code.
import dataclasses
import json
import os
import pathlib
import signal
import subprocess

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


def start(*arguments, model=MINILM, env=None, **options):
    """Starts a command; `model` None leaves --model out."""
    command = [BINARY, *map(str, arguments)]
    if model is not None:
        command[2:2] = ["--model", str(model)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        command, env=environment(env or {}), preexec_fn=restore_interrupt, **options
    )


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
    return finish(start(*arguments, stdin=subprocess.PIPE, **options), given)


def jsonl(*objects):
    return "".join(json.dumps(item) + "\n" for item in objects).encode()


def assert_unit(vectors):
    numpy.testing.assert_allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-6)
