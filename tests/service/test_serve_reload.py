# In: a server under load, and files that change beneath it. Out: whether a reload takes the new ones,
# keeps the old ones where the new are wrong, and loses no request.
import contextlib
import os
import signal
import socket
import threading

import numpy
import pytest

import command_line
import serving
from serving import request
from test_serve_models import write_other

TEXTS = ["hello", "a cat sat on the mat"]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def weights(tiny, tmp_path_factory):
    """Two sets of weights for one folder."""
    other = write_other(tmp_path_factory.mktemp("models") / "other")
    return [(folder / WEIGHTS).read_bytes() for folder in [tiny, other]]


def put(file, data):
    """In one rename: whoever reads has the whole old or the whole new one."""
    new = file.with_name(file.name + ".new")
    new.write_bytes(data)
    os.replace(new, file)


def reloaded(server, fields=()):
    reply = server.post("/admin/reload", {}, fields)
    assert reply.status == 200, reply
    return reply.json()["reloaded"]


def test_ten_reloads_under_load_lose_no_request(own_tiny, weights):
    rights = []
    for data in weights:
        put(own_tiny / WEIGHTS, data)
        rights.append(command_line.run("embed", *TEXTS, model=own_tiny).vectors())
    put(own_tiny / WEIGHTS, weights[0])
    wrong, answered, over = [], [0] * 4, threading.Event()

    def client(place):
        with server.connect() as connection:
            while not over.is_set():
                connection.send(request("POST", "/embed", {"inputs": TEXTS}))
                reply = connection.read_reply()
                if reply is None or reply.status != 200:
                    wrong.append(reply)
                    return
                got = numpy.float32(reply.json())
                if not any(numpy.allclose(got, right, atol=1e-6) for right in rights):
                    wrong.append(reply)
                answered[place] += 1

    with serving.serving(model=own_tiny) as server:
        threads = [threading.Thread(target=client, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(1, 11):
                before = list(answered)
                put(own_tiny / WEIGHTS, weights[turn % 2])
                assert reloaded(server) == [own_tiny.name]
                numpy.testing.assert_allclose(server.vectors(TEXTS), rights[turn % 2], atol=1e-6)
                assert sum(answered) > sum(before)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not wrong and min(answered) > 10
        assert server.end() == 0
    assert sum("was reloaded" in line for line in server.log) == 10


def test_what_is_wrong_is_not_taken(own_tiny, weights):
    with serving.serving(model=own_tiny) as server:
        right = server.vectors(TEXTS)
        tokenizer = (own_tiny / "tokenizer.json").read_bytes()
        spoilt = bytearray(weights[0])
        spoilt[-20_000:] = b"\xff" * 20_000  # NaN
        for file, data, words in [("tokenizer.json", b"{", "tokenizer.json"),
                                  (WEIGHTS, b"nothing", WEIGHTS),
                                  (WEIGHTS, bytes(spoilt), "")]:
            put(own_tiny / file, data)
            reply = server.post("/admin/reload", {})
            assert reply.status == 500 and reply.json()["reloaded"] == []
            (failed,) = reply.json()["failed"]
            assert failed["name"] == own_tiny.name and words in failed["error"]
            command_line.wait_until(
                lambda: any(failed["error"] in line and "as before" in line for line in server.log))
            assert (server.vectors(TEXTS) == right).all()
            assert server.get("/readyz").status == 200
            put(own_tiny / "tokenizer.json", tokenizer)
            put(own_tiny / WEIGHTS, weights[0])
        assert reloaded(server) == [own_tiny.name]
        assert (server.vectors(TEXTS) == right).all()
        assert server.end() == 0


def test_keys_are_read_again_one_reload_at_a_time(tiny, tmp_path):
    """A pipe instead of a file: a reload takes as long as the test wants."""
    keys = tmp_path / "keys"
    os.mkfifo(keys)
    old, new = "0123456789abcdef", "fedcba9876543210"

    def reader():
        """The pipe, once the server reads it."""
        opened = []

        def is_read():
            with contextlib.suppress(OSError):
                opened.append(os.open(keys, os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        command_line.wait_until(is_read)
        return os.fdopen(opened[0], "w")

    def write(text):
        with reader() as pipe:
            pipe.write(text)

    writer = threading.Thread(target=write, args=(old + "\n",))
    writer.start()
    with serving.serving("--api-keys", keys, model=tiny) as server:
        writer.join()

        def bearer(key):
            return [("Authorization", f"Bearer {key}")]

        assert server.post("/admin/reload", {}).status == 401
        with server.connect() as first:
            first.send(request("POST", "/admin/reload", {}, bearer(old)))
            with reader() as pipe:
                assert server.post("/admin/reload", {}, bearer(old)).status == 409
                pipe.write(new + "\n")
            assert first.read_reply().json()["reloaded"] == ["the keys", "tiny"]
        assert server.post("/embed", {"inputs": "a"}, bearer(old)).status == 401
        assert server.post("/embed", {"inputs": "a"}, bearer(new)).status == 200
        # Keys that are wrong open no door, and a model reloads without them.
        with server.connect() as second:
            second.send(request("POST", "/admin/reload", {}, bearer(new)))
            write("short\n")
            reply = second.read_reply()
        assert reply.status == 500 and reply.json()["reloaded"] == ["tiny"]
        assert server.post("/embed", {"inputs": "a"}, bearer(new)).status == 200
        assert server.post("/embed", {"inputs": "a"}, bearer("short")).status == 401
        assert server.end() == 0
    assert not any(new in line for line in server.log)


def test_sighup_reloads(own_tiny, weights):
    with serving.serving(model=own_tiny) as server:
        before = server.vectors(TEXTS)
        put(own_tiny / WEIGHTS, weights[1])
        server.process.send_signal(signal.SIGHUP)
        command_line.wait_until(lambda: any("was reloaded" in line for line in server.log))
        assert abs(server.vectors(TEXTS) - before).max() > 0.01
        server.process.send_signal(signal.SIGHUP)  # and at once the end: it has not to wait for it
        assert server.end() == 0


def test_reloading_is_for_this_machine(tiny, tmp_path):
    with serving.serving("--host", "0.0.0.0", model=tiny) as server:
        port = server.address[1]
        for name in ["Origin", "X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"]:
            assert server.post("/admin/reload", {}, [(name, "x")]).status == 403
        assert server.get("/admin/reload").status == 405
        # An address of this machine that is no loopback one, where it has any.
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
            with contextlib.suppress(OSError):
                probe.connect(("192.0.2.1", 9))
            own = probe.getsockname()[0]
        if own not in ("0.0.0.0", "127.0.0.1"):
            server.address = (own, port)
            assert server.post("/admin/reload", {}).status == 403
            assert server.post("/embed", {"inputs": "a"}).status == 200
        server.address = ("127.0.0.1", port)
        assert reloaded(server) == ["tiny"]
        assert server.end() == 0
    path = str(tmp_path / "s")
    with serving.serving("--unix-socket", path, model=tiny, port=()) as server:
        assert reloaded(server) == ["tiny"]
        assert server.end() == 0
