# In: the pure parts of bench/rivals, and rivals that are made up. Out: whether texts, settings and
# vectors come together as they should.
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import adapters
import environments
import machine
import models
import numpy as np
import pytest
import run
import texts
import worker


# --- Texts


def test_paragraphs_are_running_text():
    page = textwrap.dedent(r"""        .\" a comment
        .TH NAME 2
        .SH DESCRIPTION
        The
        .BR open (2)
        call \fIopens\fP a \- file.
        .PP
        .nf
        int verbatim;
        .fi
        Second \(lqone\(rq.
        """)
    assert list(texts.paragraphs(page)) == ["The open(2) call opens a - file.", "Second one."]


class Words:
    """A tokenizer: two special tokens and one for each word."""

    def encode(self, text):
        class Encoded:
            ids = [0, *text.split(), 0]

        return Encoded


@pytest.fixture
def glosses(monkeypatch):
    many = [f"gloss{i} of {i % 7} words " + "more " * (i % 5) for i in range(4000)]
    stripped = [one.strip() for one in many]
    monkeypatch.setattr(texts.parity, "glosses", lambda count: stripped[:count])


def test_exact_texts_are_exact_and_different(glosses):
    made = texts.exact(Words(), 5, 12)
    assert [len(Words().encode(text).ids) for text in made] == [12] * 5
    assert len(set(made)) == 5
    assert texts.exact(Words(), 5, 12) == made


def test_mixed_texts_are_half_and_half(glosses):
    made = texts.mixed(Words(), 10, [f"page{i} " + "word " * 30 for i in range(40)])
    assert len(made) == len(set(made)) == 10
    assert sum(text.startswith("page") for text in made) == 5


# --- Arithmetic


def test_operations_of_an_encoder():
    config = {
        "model_type": "bert",
        "hidden_size": 4,
        "intermediate_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    # Four matrices 4 x 4 and two of 4 x 8; scores and their sum, each 5 x 5 pairs of width 4.
    assert models.operations(config, [5]) == 3 * (2 * 5 * (64 + 64) + 2 * 2 * 25 * 4)
    assert models.operations(config, [5, 5]) == 2 * models.operations(config, [5])


def test_operations_of_a_decoder():
    config = {
        "model_type": "qwen3",
        "hidden_size": 4,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 3,
    }
    query, keys, mlp = 2 * 4 * 6, 2 * 4 * 3, 3 * 4 * 8
    whole = 2 * 5 * (query + keys + mlp) + 2 * 2 * 15 * 6  # 1 + 2 + 3 + 4 + 5 pairs
    last = 2 * 5 * keys + 2 * (query + mlp) + 2 * 2 * 5 * 6
    assert models.operations(config, [5]) == whole + last


def test_cores_are_those_allowed():
    allowed = os.sched_getaffinity(0)
    assert set(machine.cores_to_use(1)) <= allowed
    with pytest.raises(ValueError):
        machine.cores_to_use(len(allowed) + 1)


def test_cores_are_not_chosen_where_nobody_may(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores_to_use(2) is None


# --- Adapters


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (8, [1, 8]), (9, [1, 8, 9]), (200, [1, 8, 32, 128, 200])]
)
def test_batch_sizes(count, sizes):
    assert adapters.sizes_up_to(count) == sizes


def test_pooling_leaves_padding_out():
    hidden = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    assert adapters.pool(hidden, mask, "mean").tolist() == [[1, 2], [6, 7]]
    assert adapters.pool(hidden, mask, "last").tolist() == [[2, 3], [6, 7]]


class Lengths(adapters.InBatches):
    """Its vector of a text is the direction (length, 1)."""

    def __init__(self):
        self.tokens = lambda part: (part, None)
        self.seen = []

    def run(self, inputs):
        for part, _ in inputs:
            self.seen.append([len(text) for text in part])
            yield np.array([[len(text), 1.0] for text in part])


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
@pytest.mark.parametrize("sort", [False, True])
def test_vectors_come_in_the_order_of_the_texts(batch, sort):
    lengths = [7, 1, 5, 3, 2]
    adapter = Lengths()
    vectors = adapter.embed(["x" * length for length in lengths], batch=batch, sort=sort)
    assert (vectors[:, 0] / vectors[:, 1]).tolist() == pytest.approx(lengths)
    assert [one for part in adapter.seen for one in part] == (sorted(lengths) if sort else lengths)
    assert all(len(part) <= batch for part in adapter.seen)


def test_sorting_is_tried_where_it_matters():
    assert Lengths().call_settings(1) == [{"batch": 1, "sort": False}]
    tried = Lengths().call_settings(9)
    assert {"batch": 8, "sort": True} in tried
    assert {"batch": 9, "sort": True} not in tried


FAKE_TEI = """#!{python}
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def do_GET(self):
        self.answer({{"version": "9.9"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer([[float(len(text)), 1.0] for text in body["inputs"]])

    def log_message(self, *_):
        pass

port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def test_a_server_is_asked_in_parallel(tmp_path):
    program = tmp_path / "tei"
    program.write_text(FAKE_TEI.format(python=sys.executable))
    program.chmod(0o755)
    adapter = adapters.TextEmbeddingsInference()
    adapter.load({"tei": str(program), "model": "model"}, {}, 2)
    try:
        vectors = adapter.embed(["x" * i for i in range(1, 8)], request=3, clients=2)
        assert vectors[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert adapter.versions() == {"text-embeddings-inference": "9.9"}
    finally:
        adapter.close()


def test_a_server_that_ends_is_an_error():
    adapter = adapters.TextEmbeddingsInference()
    with pytest.raises(RuntimeError, match="ended with 1"):
        adapter.load({"tei": "false", "model": "model"}, {}, 2)


@pytest.mark.parametrize(
    ("given", "taken"),
    [([1, 9], [1, 9]), ([1, 2], [1, 2, 9]), ([1, 2, 3, 4, 9], [1, 2, 3, 9]), ([], [9]),
     ([1, 2, 3, 9], [1, 2, 3, 9]), ([1, 2, 3, 4], [1, 2, 3, 9])],
)  # fmt: skip
def test_llama_gets_the_final_token_and_the_limit(given, taken):
    tokens = adapters.as_the_model_wants(lambda text: given, {"final_token": 9, "tokens_max": 4})
    assert tokens(b"text") == taken


# --- The worker


class Counting:
    def __init__(self):
        self.calls = []

    def call_settings(self, count):
        return [{"batch": 1}, {"batch": count}]

    def embed(self, some, batch):
        self.calls.append(batch)
        return np.full((len(some), 2), batch, np.float32)


def test_worker_warms_before_it_measures(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\nthree\n")
    vectors = tmp_path / "vectors.npy"
    adapter = Counting()
    given = {"name": "1x1", "texts": str(path), "call": {"batch": 2}, "seconds": 0}
    answers = worker.measure(adapter, given | {"vectors": str(vectors)})
    assert [len(one["seconds"]) for one in answers] == [1]
    assert adapter.calls == [2, 2]
    assert np.load(vectors).shape == (3, 2)


def test_worker_tries_all_settings(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\nthree\n")
    answers = worker.measure(
        Counting(), {"name": "a", "texts": str(path), "call": None, "seconds": 0}
    )
    assert [one["call"] for one in answers] == [{"batch": 1}, {"batch": 3}]


# --- The run


def test_every_rival_has_an_adapter_and_its_forms():
    files = run.prepare.files_of("qwen3", pathlib.Path("work"))
    for adapter, precision, environment, forms in run.RIVALS.values():
        assert adapter in adapters.ADAPTERS or adapter == "textvec"
        assert precision in run.report.COSINE_MIN
        assert set(forms) <= set(files)
        assert environment is None or (run.HERE / f"requirements/{environment}.txt").is_file()
    for *_, ours, _, other in run.report.AIMS:
        assert {ours, other or ours} <= set(run.RIVALS)


def test_everything_is_pinned():
    for path in (run.HERE / "requirements").glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines), path


def test_rounds_begin_with_another_one():
    assert [run.turned(["a", "b", "c"], index)[0] for index in range(4)] == ["a", "b", "c", "a"]
    assert sorted(run.turned(["a", "b", "c"], 2)) == ["a", "b", "c"]


def test_command_line_names_no_folder():
    given = ["--work", "/some/where", "--only", "OpenVINO f32", "--docs", "--fresh"]
    assert run.command_line(given) == (
        'python bench/rivals/run.py --work FOLDER --only "OpenVINO f32"'
    )


def write_vectors(results, rival, vectors):
    folder = results / "vectors" / f"minilm-{rival}"
    folder.mkdir(parents=True)
    np.save(folder / "8x32.npy", np.array(vectors, np.float32))


def test_cosines(tmp_path):
    write_vectors(tmp_path, "textvec-f32", [[1, 0], [0, 1]])
    write_vectors(tmp_path, "same", [[2, 0], [0, 1]])
    write_vectors(tmp_path, "turned", [[1, 0], [1, 1]])
    write_vectors(tmp_path, "broken", [[1, 0], [np.nan, 1]])
    write_vectors(tmp_path, "other", [[1, 0, 0], [0, 1, 0]])
    assert run.smallest_cosines(tmp_path, "minilm", "same") == {"8x32": 1.0}
    assert run.smallest_cosines(tmp_path, "minilm", "turned")["8x32"] == pytest.approx(0.5**0.5)
    assert run.smallest_cosines(tmp_path, "minilm", "broken") == {"8x32": -1.0}
    assert run.smallest_cosines(tmp_path, "minilm", "other") == {"8x32": -1.0}
    assert run.smallest_cosines(tmp_path, "minilm", "nobody") == {}


def test_rounds_of_two_builds_are_not_mixed(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"one")
    run.check_same_build(tmp_path / "results", program)
    run.check_same_build(tmp_path / "results", program)
    program.write_bytes(b"another")
    with pytest.raises(SystemExit):
        run.check_same_build(tmp_path / "results", program)


def test_quick_settings_try_nothing():
    found = run.usual_settings(adapters.OpenVino())
    assert found["batch"]["call"] == {"batch": run.ALL, "sort": False}
    assert found["mixed"]["call"] == {"batch": 1, "sort": False}
    assert found["one"]["load"] == {"hint": "LATENCY", "floats": "f32"}
    for name, make in adapters.ADAPTERS.items():
        assert set(run.usual_settings(make())) == {"one", "batch", "mixed"}, name


def test_what_is_not_int8_may_be_rounded_in_openvino_s_int8_alone():
    floats = {name: {load["floats"] for load in adapters.ADAPTERS[name]().load_settings}
              for name in ("openvino", "openvino-int8")}  # fmt: skip
    assert floats == {"openvino": {"f32"}, "openvino-int8": {"f32", "bf16"}}
    assert run.RIVALS["OpenVINO int8"][0] == "openvino-int8"


def test_settings_in_words():
    one = {"load": {"hint": "LATENCY"}, "call": {"batch": run.ALL}}
    assert run.in_words({"one": one, "mixed": one}) == {"all": "hint=LATENCY batch=all"}
    other = {"load": {}, "call": {}}
    assert run.in_words({"one": one, "mixed": other})["mixed"] == "its own"


def test_what_cannot_be_installed_says_why(tmp_path):
    command = [sys.executable, "-c", "print('hello'); raise SystemExit('Error: no such package')"]
    with pytest.raises(environments.Unavailable, match="exit code 1: Error: no such package"):
        environments.checked(command, 60, tmp_path / "logs" / "log")
    with pytest.raises(environments.Unavailable, match="took over"):
        environments.checked(["sleep", "5"], 0.1, tmp_path / "log")
    with pytest.raises(environments.Unavailable):
        environments.checked([tmp_path / "no such program"], 60, tmp_path / "log")


def test_a_job_is_answered_in_one_line(tmp_path):
    """worker.py as the process that run.py starts, with an adapter that needs nothing."""
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import adapters, worker, numpy\n"
        "class Fake:\n"
        "    load = lambda self, *_: print('noise')\n"
        "    embed = lambda self, some: numpy.ones((len(some), 2), numpy.float32)\n"
        "    versions = lambda self: {'fake': '1'}\n"
        "adapters.ADAPTERS['fake'] = Fake\n"
        "worker.main()\n"
    )
    work = {"name": "mixed", "texts": str(path), "call": {}, "seconds": 0, "vectors": None}
    job = {"adapter": "fake", "files": {}, "load": {}, "threads": 1, "workloads": [work]}
    done = subprocess.run(
        [sys.executable, "-c", script, str(run.HERE)],
        input=json.dumps(job).encode(), capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    answer = json.loads(done.stdout.decode().strip().splitlines()[-1])
    assert answer["versions"] == {"fake": "1"}
    assert answer["workloads"][0]["name"] == "mixed"
    assert len(answer["workloads"][0]["seconds"]) == 1
