# In: a server whose surroundings fail: memory, disk, clock, device, processor, network. Out: whether
# no vector is wrong, no client waits for ever, what fails is said, and the same process recovers.
import contextlib
import json
import mmap
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy
import pytest

import command_line
import serving
from serving import TEXTS, request, same
from test_cache import full_disk, no_folder
from test_providers import FAKE
from test_serve_reload import put

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and affinity are Linux's")


# --- Texts


def test_a_text_of_more_tokens_than_a_batch_has_runs_alone(tiny, expected):
    with serving.serving("--batch-tokens", "2", model=tiny) as server:
        long = "word " * 60
        vectors = server.vectors([TEXTS[0], long, *TEXTS[1:]])
        same(numpy.delete(vectors, 1, axis=0), expected)
        same(vectors[1], command_line.run("embed", long, model=tiny).vectors()[0])
        assert server.metric("textvec_bytes_in_flight") == 0
        assert server.end() == 0


def test_a_text_at_which_the_graph_fails_fails_alone(own_tiny):
    """One word makes an index that is outside a table, on purpose."""
    onnx = pytest.importorskip("onnx")
    vocabulary = json.loads((own_tiny / "tokenizer.json").read_text())["model"]["vocab"]
    good = ["the", "of", "to", "in"]
    constants = {
        "table": numpy.random.default_rng(1).normal(size=(len(vocabulary), 32)),
        "zeros": numpy.zeros((1, 32)),
    }
    constants = {name: value.astype(numpy.float32) for name, value in constants.items()}
    constants["poison"] = numpy.array(vocabulary["poison"])
    make, types = onnx.helper, onnx.TensorProto
    shape = ["batch", "length"]
    nodes = [
        make.make_node("Gather", ["table", "input_ids"], ["rows"]),
        make.make_node("Equal", ["input_ids", "poison"], ["is_poison"]),
        make.make_node("Cast", ["is_poison"], ["outside"], to=types.INT64),
        make.make_node("Gather", ["zeros", "outside"], ["nothing"]),
        make.make_node("Add", ["rows", "nothing"], ["last_hidden_state"]),
    ]
    graph = make.make_graph(
        nodes, "poisoned",
        [make.make_tensor_value_info(name, types.INT64, shape)
         for name in ["input_ids", "attention_mask"]],
        [make.make_tensor_value_info("last_hidden_state", types.FLOAT, [*shape, 32])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    (own_tiny / "model.safetensors").unlink()
    onnx.save(model, own_tiny / "model.onnx")
    with serving.serving(model=own_tiny) as server:
        right = {word: server.vectors(word)[0] for word in good}
        before = server.metric("te_batch_next_size_count")
        reply = server.post("/embed", {"inputs": ["the"] * 15 + ["poison"] + ["of"] * 16})
        assert (reply.status, reply.json()["error_type"]) == (424, "backend")
        assert server.metric("te_batch_next_size_count") - before <= 2 * 5 + 1  # halves of 32
        reply = server.post("/v1/embeddings", {"input": ["the", "poison"]})
        assert reply.status == 500 and "Gather" not in reply.json()["error"]["message"]
        command_line.wait_until(
            lambda: any("input[1]" in line and "indices" in line for line in server.log))
        with contextlib.ExitStack() as open_ones:
            bad = open_ones.enter_context(server.connect())
            others = {word: open_ones.enter_context(server.connect()) for word in good}
            bad.send(request("POST", "/embed", {"inputs": ["poison"] * 8}))
            for word, connection in others.items():
                connection.send(request("POST", "/embed", {"inputs": [word] * 4}))
            assert bad.read_reply().status == 424
            for word, connection in others.items():
                same(connection.read_reply().json(), [right[word]] * 4)
        assert server.end() == 0


# --- Devices


def provider(library, mode="good", seconds="20"):
    return ["--provider", "openvino", "--provider-library", library, "--trial-seconds", seconds], {
        "TEXTVEC_FAKE_PROVIDER": mode}


def test_a_provider_that_cannot_be_loaded_is_done_without_or_ends_it(tiny, tmp_path, expected):
    library = tmp_path / FAKE.name
    library.write_text("no library")
    options, env = provider(library)
    env["TEXTVEC_CACHE"] = str(tmp_path / "cache")
    with serving.serving(*options, model=tiny, env=env) as server:
        same(server.vectors(TEXTS), expected)
        about = server.get("/info").json()
        assert (about["provider"], about["provider_wanted"]) == ("cpu", "openvino")
        assert FAKE.name in about["provider_note"]
        assert server.metric('textvec_provider_fallback{model="tiny"}') == 1
        assert server.end() == 0
    assert sum("cpu is used" in line for line in server.log) == 1
    refused = command_line.run("serve", "--port", "0", *options, "--require-provider", model=tiny,
                               env=env)
    command_line.assert_refused(refused, 4, "openvino")


def test_a_device_that_never_answers_holds_up_nobody_for_ever(tiny, tmp_path):
    env = {"TEXTVEC_CACHE": str(tmp_path / "cache")}
    options, good = provider(FAKE)
    assert command_line.run("info", *options, "--require-provider", model=tiny,
                            env=env | good).code == 0  # its trial is passed
    options, stuck = provider(FAKE, "stuck:60")
    with serving.serving(*options, "--require-provider", "--timeout", "2", "--stall-timeout", "1",
                         "--drain-timeout", "1", model=tiny, env=env | stuck) as server:
        statuses = [200]
        while statuses[-1] == 200 and len(statuses) < 100:
            statuses.append(server.post("/embed", {"inputs": TEXTS}).status)
        assert statuses[-1] == 504 and statuses.count(200) > 1
        with server.connect() as waiting:
            waiting.send(request("POST", "/embed", {"inputs": "a"}))
            command_line.wait_until(lambda: server.get("/livez").status == 503)
            assert server.get("/readyz").status == 503
            assert waiting.read_reply().status in (503, 504)
        assert server.end() in (0, 5)


# --- Disks


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_done_without(tiny, tmp_path, expected, kind):
    env = {"TEXTVEC_CACHE": str(no_folder(tmp_path, kind))}
    with serving.serving(model=tiny, env=env) as server:
        same(server.vectors(TEXTS), expected)
        assert server.post("/admin/reload", {}).status == 200
        same(server.vectors(TEXTS), expected)
        assert server.end() == 0
    assert any("the graph is built in memory" in line for line in server.log)


def test_a_cache_on_a_full_disk_is_done_without(tiny, tmp_path, expected):
    with full_disk(tmp_path / "cache") as options:
        env = {"TEXTVEC_CACHE": str(tmp_path / "cache")}
        with serving.serving(model=tiny, env=env, **options) as server:
            same(server.vectors(TEXTS), expected)
            assert server.post("/admin/reload", {}).status == 200
            same(server.vectors(TEXTS), expected)
            assert server.end() == 0
    assert any("the graph is built in memory" in line for line in server.log)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device here is always full")
def test_a_log_on_a_full_disk_stops_nothing(tiny, expected):
    with open("/dev/full", "wb") as full:
        with serving.serving(model=tiny, stderr=full) as server:
            for _ in range(20):
                same(server.vectors(TEXTS), expected)
            assert server.get("/nowhere").status == 404
            server.process.send_signal(signal.SIGHUP)  # its outcome would be logged
            server.assert_unharmed()
            assert server.end() == 0
        # Where the address cannot be told nobody could ask.
        answer = command_line.run("serve", "--port", "0", model=tiny, stdout=full)
        assert answer.code == 4 and "standard output" in answer.err


# --- Memory and clock


class Faults:
    """The switches of faults_preload.cpp."""

    def __init__(self, folder):
        self.file = folder / "faults"
        self.file.write_bytes(struct.pack("qqqq", -1, 0, 0, 0))
        with open(self.file, "r+b") as opened:
            self.numbers = mmap.mmap(opened.fileno(), 32)
        self.env = {"TEXTVEC_FAULTS": str(self.file), "LD_PRELOAD": str(folder / "faults.so")}

    def fail(self, allocation, stays=False):
        self.numbers[8:16] = struct.pack("q", stays)
        self.numbers[0:8] = struct.pack("q", allocation)

    def failing(self):
        """Whether the one that fails has come, or comes next."""
        return struct.unpack("q", self.numbers[0:8])[0] <= 0

    def stop_failing(self):
        failed = self.failing()
        self.fail(-1)
        return failed

    def set_clock(self, seconds):
        self.numbers[16:24] = struct.pack("q", seconds)

    def fail_large(self, size):
        self.numbers[24:32] = struct.pack("q", size)


@pytest.fixture
def faults(tmp_path):
    source = pathlib.Path(__file__).with_name("faults_preload.cpp")
    subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-shared", "-fPIC", "-o",
                    tmp_path / "faults.so", source], check=True)
    return Faults(tmp_path)


def is_readable(connection):
    return bool(select.select([connection.socket], [], [], 0)[0])


@needs_linux
@pytest.mark.parametrize("stays", [False, True])
def test_memory_ends_anywhere_in_a_request(tiny, faults, expected, stays):
    """The n-th allocation that the program makes for a request fails, alone or with those after it."""
    seen = set()
    texts = TEXTS * 3  # so many tokens that threads share the rows
    expected = numpy.tile(expected, (3, 1))
    with serving.serving(model=tiny, env=faults.env) as server:
        assert server.golden
        for allocation in range(0, 1000, 3 if stays else 1):
            with server.connect() as connection:
                connection.send(request("GET", "/livez"))
                assert connection.read_reply().status == 200
                faults.fail(allocation, stays)
                # Where there is no memory to say so, its time ends the request.
                connection.send_what_is_taken(request("POST", "/embed", {"inputs": texts},
                                                      [("X-Request-Timeout-Ms", "200")]))
                if stays:
                    command_line.wait_until(lambda: faults.failing() or is_readable(connection))
                    time.sleep(0.02)  # then memory is there again
                    failed = faults.stop_failing()
                reply = connection.read_reply()
                if not stays:
                    failed = faults.stop_failing()
            if reply is not None and reply.status == 200:
                same(reply.json(), expected)
            seen.add(reply and reply.status)
            assert server.process.poll() is None, (allocation, server.log[-5:])
            if not failed:
                break
        assert allocation > 20 and not failed
        assert seen <= {None, 200, 424, 503, 504} and seen - {200}
        server.assert_unharmed()
        server.wait_for_metric("textvec_bytes_in_flight", lambda value: value == 0)
        assert server.end() == 0


@needs_linux
def test_there_is_no_memory_for_a_batch(faults):
    """It is halved until there is, of which its client sees nothing; a text that is too much fails."""
    with serving.serving(model=command_line.MINILM, env=faults.env) as server:
        texts = [f"{text} number {i}" + " and so on" * 9 for i, text in enumerate(TEXTS * 8)]
        first = server.vectors(texts[:1])

        faults.fail_large(1)
        reply = server.post("/embed", {"inputs": "word " * 600, "truncate": True})
        assert reply.status == 424 and reply.json()["error_type"] == "backend"
        same(server.vectors(texts[:1]), first)

        faults.fail_large(1 << 20)
        before = server.metric("te_batch_next_size_count")
        vectors = server.vectors(texts)
        runs = server.metric("te_batch_next_size_count") - before
        same(vectors[:1], first)

        faults.fail_large(0)
        before = server.metric("te_batch_next_size_count")
        same(server.vectors(texts), vectors)
        assert runs > server.metric("te_batch_next_size_count") - before
        server.assert_unharmed()
        assert server.end() == 0


@needs_linux
def test_the_wall_clock_jumps(tiny, faults, expected):
    faults.set_clock(-1_000_000_000)  # it begins decades ago
    over = threading.Event()

    def jump():
        while not over.wait(0.005):
            faults.set_clock(3600 if time.monotonic_ns() // 5_000_000 % 2 else -3600)

    with serving.serving("--timeout", "60", "--idle-timeout", "60", model=tiny,
                         env=faults.env) as server:
        same(server.vectors(TEXTS), expected)
        command_line.wait_until(lambda: any('"time":' in line for line in server.log))
        logged = next(json.loads(line) for line in server.log if '"time":' in line)
        assert logged["time"] < "2015" and 0 <= logged["ms"] < 60_000  # the fault is there
        thread = threading.Thread(target=jump)
        thread.start()
        try:
            with server.connect() as idle:
                for _ in range(200):
                    same(server.vectors(TEXTS), expected)
                idle.send(request("GET", "/livez"))  # nor was it closed as idle for an hour
                assert idle.read_reply().status == 200
            assert server.post("/admin/reload", {}).status == 200
        finally:
            over.set()
            thread.join()
        assert all(0 <= json.loads(line)["ms"] < 60_000 for line in server.log if '"ms":' in line)
        assert server.end() == 0


# --- Processes


def test_a_stopped_server_goes_on(tiny, expected):
    with serving.serving(model=tiny) as server:
        with server.connect() as connection:
            server.process.send_signal(signal.SIGSTOP)
            connection.send(request("POST", "/embed", {"inputs": TEXTS}))
            time.sleep(1)
            server.process.send_signal(signal.SIGCONT)
            same(connection.read_reply().json(), expected)
        server.process.send_signal(signal.SIGPIPE)
        server.assert_unharmed()
        assert server.end() == 0


@needs_linux
def test_many_threads_on_one_core(tiny, expected):
    def one_core():
        command_line.restore_interrupt()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    with serving.serving("--threads", "64", model=tiny, preexec_fn=one_core) as server:
        with contextlib.ExitStack() as open_ones:
            connections = [open_ones.enter_context(server.connect()) for _ in range(16)]
            for connection in connections:
                connection.send(request("POST", "/embed", {"inputs": TEXTS}) * 4)
            for connection in connections:
                for _ in range(4):
                    same(connection.read_reply().json(), expected)
        server.assert_unharmed()
        assert server.end() == 0


def test_metrics_are_read_while_a_broken_and_a_good_model_are_loaded(own_tiny):
    weights = (own_tiny / "model.safetensors").read_bytes()
    over, wrong, answered = threading.Event(), [], []
    with serving.serving(model=own_tiny) as server:
        right = server.vectors(TEXTS)

        def client():
            while not over.is_set():
                if not (server.vectors(TEXTS) == right).all():
                    wrong.append("a vector")
                text = server.get("/metrics").body.decode()
                if "te_request_count" not in text or not text.endswith("\n"):
                    wrong.append(text)
                answered.append(1)

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                for data, status in [(b"nothing", 500), (weights, 200)]:
                    put(own_tiny / "model.safetensors", data)
                    assert server.post("/admin/reload", {}).status == status
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert answered and not wrong
        assert server.end() == 0


# --- Networks


class Relay:
    """A slow way to a server: each piece of at most `piece` bytes, either way, takes `seconds`; after
    `cut` bytes of replies both ends are closed."""

    def __init__(self, address, piece, seconds, cut=None):
        self.to, self.piece, self.seconds, self.cut = address, piece, seconds, cut
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                far = socket.create_connection(self.to)
                for ends in [(near, far, None), (far, near, self.cut)]:
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, target, cut):
        with contextlib.suppress(OSError):
            while data := source.recv(self.piece if cut is None else min(self.piece, cut)):
                time.sleep(self.seconds)
                target.sendall(data)
                if cut is not None:
                    cut -= len(data)
                    if cut == 0:
                        break
        for end in [source, target]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("piece, seconds", [(1 << 16, 0.2), (100, 0.05)],
                         ids=["late", "narrow"])
def test_a_slow_network(server, expected, piece, seconds):
    with Relay(server.address, piece, seconds) as relay:
        with serving.Connection(relay.address) as connection:
            for _ in range(2):
                connection.send(request("POST", "/embed", {"inputs": TEXTS}))
                same(connection.read_reply().json(), expected)


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_a_network_that_is_cut_in_a_reply(server, cut):
    with Relay(server.address, 1 << 16, 0, cut) as relay:
        with serving.Connection(relay.address) as connection:
            connection.send(request("POST", "/embed", {"inputs": TEXTS}))
            assert not connection.is_closed() and len(connection.received) == cut
    server.wait_for_metric("textvec_connections", lambda value: value == 1)
    server.wait_for_metric("textvec_bytes_in_flight", lambda value: value == 0)
    server.assert_unharmed()
