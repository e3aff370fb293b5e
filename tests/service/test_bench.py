# In: textvec bench with good and bad shapes. Out: numbers that hang together; no test asks for speed.
import re
import signal

import pytest
from command_line import MINILM, assert_refused, finish, run, running
from tiny_folder import TOKENS_MAX


@pytest.fixture(scope="module", autouse=True)
def compiled(tiny):
    """A first use of a model says so on standard error."""
    assert run("info", model=tiny).code == 0


def bench(*arguments, model, **options):
    answer = run("bench", "--json", *arguments, model=model, **options)
    assert (answer.code, answer.err) == (0, "")
    (report,) = answer.lines()
    return report


def assert_sane(shape):
    stages = shape["stages_ms"]
    assert set(stages) == {"tokenize", "batch", "inference", "pool"}
    assert all(value > 0 for value in stages.values())
    # The stages are parts of the run: no more than it, and the most of it.
    assert 0.5 * shape["median_ms"] < sum(stages.values()) <= shape["median_ms"] * 1.001
    assert shape["p95_ms"] >= shape["median_ms"]
    seconds = shape["median_ms"] / 1000
    assert shape["texts_per_second"] == pytest.approx(shape["texts"] / seconds)
    tokens = shape["texts"] * shape["tokens"]
    assert shape["tokens_per_second"] == pytest.approx(tokens / seconds)


@pytest.mark.parametrize("model", ["tiny", MINILM])
def test_the_numbers_hang_together(tiny, model):
    options = ["--shape", "1x3,1x12,8x32", "--repeat", "5", "--threads", "1"]
    report = bench(*options, model=tiny if model == "tiny" else model)
    assert (report["path"], report["precision"], report["provider"]) == ("fused", "f32", "cpu")
    assert (report["threads"], report["batch_tokens_max"]) == (1, 1024)
    assert "ONNX Runtime" in report["runtime"] and re.match(r"\d+\.\d+", report["version"])
    assert report["machine"]["cores_logical"] >= 1
    shapes = report["shapes"]
    assert [(shape["texts"], shape["tokens"]) for shape in shapes] == [(1, 3), (1, 12), (8, 32)]
    for shape in shapes:
        assert (shape["runs"], shape["batches"]) == (5, 1)
        assert_sane(shape)
    peaks = [shape["peak_memory_bytes"] for shape in shapes]
    assert peaks == sorted(peaks)
    assert 1 << 20 < peaks[0] < report["machine"]["memory_bytes"]


@pytest.mark.parametrize("tokens, batches", [(1024, 1), (128, 2), (127, 3), (32, 8), (1, 8)])
def test_batches_are_those_of_the_engine(tiny, tokens, batches):
    options = ["--shape", "8x32", "--repeat", "1", "--batch-tokens", tokens]
    (shape,) = bench(*options, model=tiny)["shapes"]
    assert (shape["runs"], shape["batches"]) == (1, batches)
    assert_sane(shape)


def test_seconds_end_a_shape(tiny):
    # Far below the time of two runs, and of one: one run is made.
    (shape,) = bench("--shape", "64x64", "--seconds", "0.001", model=tiny)["shapes"]
    assert shape["runs"] == 1
    (shape,) = bench("--shape", "1x3", "--seconds", "0.3", model=tiny)["shapes"]
    assert 1 < shape["runs"] <= 10_000
    limited = ["--shape", "1x3", "--seconds", "0.001", "--repeat", "10000"]
    (shape,) = bench(*limited, model=tiny)["shapes"]
    assert shape["runs"] < 10_000


def test_a_row_a_shape_for_people(tiny):
    answer = run("bench", "--shape", "1x3,2x64", "--repeat", "2", model=tiny)
    assert (answer.code, answer.err) == (0, "")
    table = answer.out.decode()
    for label in ["textvec", "runtime", "processor", "cores", "memory", "instruction sets", "model"]:
        assert re.search(f"^{label}  ", table, re.MULTILINE)
    head, *rows = table.split("\n\n")[1].splitlines()
    assert head.split()[:2] == ["shape", "runs"] and head.endswith("peak MiB")
    assert [row.split()[:2] for row in rows] == [["1x3", "2"], ["2x64", "2"]]
    # Right-aligned below their names.
    assert {len(row) for row in rows} == {len(head)}


def test_the_usual_shapes_and_the_default_model():
    report = bench("--repeat", "1", model=None, env={"TEXTVEC_MODEL": MINILM})
    assert report["model"] == "all-MiniLM-L6-v2"
    assert [(shape["texts"], shape["tokens"]) for shape in report["shapes"]] == [(1, 12), (8, 32)]


@pytest.mark.parametrize(
    "shape",
    ["", "8", "8x", "x8", "0x8", "8x0", "-1x8", "8x1048577", "4097x8", "1x2x3", "1x8,", "1x8,,1x9"]
    + ["8X8", "8 x8", "[1x8]", "99999999999999999999x1"],
)
def test_a_bad_shape_is_named(tiny, shape):
    answer = run("bench", "--shape", shape, model=tiny)
    wrong = {"1x8,": "", "1x8,,1x9": ""}.get(shape, shape)
    assert_refused(answer, 2, f'shape "{wrong}"', "TEXTSxTOKENS", "4096", "1048576")


def test_all_tokens_of_a_shape_are_limited(tiny):
    answer = run("bench", "--shape", "1x3,4096x257", model=tiny)
    assert_refused(answer, 2, "4096x257", 4096 * 257, 1 << 20)


def test_shapes_are_limited(tiny):
    assert_refused(run("bench", "--shape", ",".join(["1x3"] * 65), model=tiny), 2, "64 shapes")
    report = bench("--shape", ",".join(["1x3"] * 64), "--repeat", "1", model=tiny)
    assert len(report["shapes"]) == 64


@pytest.mark.parametrize("tokens", [1, 2, TOKENS_MAX + 1, 1 << 20])
def test_tokens_that_no_text_has_are_refused(tiny, tokens):
    # Before anything is measured: two special tokens and one of the text at least.
    answer = run("bench", "--shape", f"1x3,1x{tokens}", model=tiny)
    assert_refused(answer, 2, f"shape 1x{tokens}", f"3 to {TOKENS_MAX} tokens")


@pytest.mark.parametrize(
    "options, words",
    [
        (["--repeat", "0"], ["--repeat", "1 to 10000"]),
        (["--repeat", "10001"], ["--repeat", "10001", "1 to 10000"]),
        (["--repeat", "-1"], ["--repeat", '"-1"']),
        (["--seconds", "0"], ["--seconds", '"0"', "0.001"]),
        (["--seconds", "nan"], ["--seconds", '"nan"']),
        (["--batch-tokens", "1048577"], ["batch_tokens_max"]),
        (["--precision", "f16"], ["f16"]),
        (["word"], ["word"]),
    ],
    ids=" ".join,
)
def test_bad_options_are_named(tiny, options, words):
    assert_refused(run("bench", *options, model=tiny), 2, *words)


@pytest.mark.parametrize("code", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it(code):
    # The second shape takes minutes; the first one's row says that it has begun.
    shapes = ["--shape", "1x12,4096x256", "--seconds", "0.001"]
    with running("bench", *shapes, model=MINILM) as process:
        shown = b""
        while b"\n        1x12 " not in shown:
            line = process.stdout.readline()
            assert line, process.stderr.read().decode()
            shown += line
        process.send_signal(code)
        answer = finish(process)
    assert (answer.code, answer.out) == (130, b"")
    assert len(answer.err.splitlines()) == 1
