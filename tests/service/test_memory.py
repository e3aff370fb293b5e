# In: a small model that takes long texts. Out: the memory that a long text took is given back, and
# textvec's own graph takes little of it.
import pathlib
import re
import shutil

import pytest
from command_line import run, running
from tiny_folder import write_tiny_folder

TOKENS = 4096
MIB = 1 << 20


@pytest.fixture(scope="module")
def long_tiny(tmp_path_factory):
    folder = write_tiny_folder(tmp_path_factory.mktemp("long") / "model", TOKENS)
    assert run("embed", "first", model=folder).code == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def standard_graph(long_tiny):
    """The same of ONNX Runtime's operators, as somebody else's file."""
    made = long_tiny / "made"
    assert run("compile", "--output", made, model=long_tiny).code == 0
    for file in made.iterdir():
        file.rename(long_tiny / file.name)
    return long_tiny / "model.onnx"


def memory(process):
    """Bytes resident now, and at most so far."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    found = [re.search(rf"{name}:\s+(\d+) kB", status).group(1) for name in ["VmRSS", "VmHWM"]]
    return [int(kibibytes) << 10 for kibibytes in found]


def before_after_most(model):
    """Around a text of 4,096 tokens, in bytes."""
    with running("embed", "--threads", "2", model=model) as process:

        def embed(words):
            process.stdin.write(b"water " * words + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(b'{"index"')

        for words in [1, 30, 200, 1, 30, 200]:
            embed(words)
        before, _ = memory(process)
        embed(TOKENS - 2)
        after, most = memory(process)
    return before, after, most


needs_proc = pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(), reason="the system does not tell"
)


@needs_proc
def test_a_long_text_gives_its_memory_back(standard_graph):
    before, after, most = before_after_most(standard_graph)
    # Attention alone looks from each of 4,096 tokens at each, in four heads.
    assert most - before > 100 * MIB
    assert after - before < (most - before) / 4


@needs_proc
def test_our_own_attention_keeps_no_scores(long_tiny):
    before, _, most = before_after_most(long_tiny)
    # 32 components of 4,096 tokens are half a MiB; scores would be 256.
    assert most - before < 32 * MIB
