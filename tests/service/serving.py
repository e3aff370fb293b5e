# In: a model's folder and options. Out: `textvec serve` as a process, and raw bytes or JSON to it.
import base64
import contextlib
import dataclasses
import functools
import json
import select
import signal
import socket
import threading

import numpy

import command_line

SECONDS_MAX = command_line.SECONDS_MAX
TEXTS = ["hello", "a cat sat on the mat", "Gr\u00fc\u00dfe \U0001f9ed \u4f60\u597d", "x"]
GOLDEN = "the vector that must not change"
GOOD = json.dumps({"inputs": GOLDEN}).encode()


@dataclasses.dataclass
class Reply:
    status: int
    fields: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)


class Connection:
    """A socket that reads replies one by one."""

    def __init__(self, address, tls=None):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket()
        self.socket.settimeout(SECONDS_MAX)
        self.socket.connect(address)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_what_is_taken(self, data):
        """For a server that may refuse, and close, before all of it has come."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.received += data
        return data

    def read_reply(self, head_only=False):
        """The next reply, or None when the connection was closed before it."""
        while b"\r\n\r\n" not in self.received:
            if not self._more():
                assert not self.received, self.received
                return None
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        length = 0 if head_only or status == "100" else int(fields.get("content-length", 0))
        while len(self.received) < length:
            assert self._more(), "the body was cut"
        body, self.received = self.received[:length], self.received[length:]
        return Reply(int(status), fields, body)

    def is_closed(self):
        """Waits for the server to close."""
        while self._more():
            pass
        return not self.received


def request(method, path, body=None, fields=(), version="HTTP/1.1"):
    """The bytes of a request as a good client sends them."""
    lines = [f"{method} {path} {version}", "Host: textvec"]
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    else:
        data = b""
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


class Server:
    """A running server. Its log is read all the time, so that it never waits for us."""

    def __init__(self, process, tls=None):
        self.process = process
        self.tls = tls  # a client's ssl.SSLContext
        self.log = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS_MAX)
        line = process.stdout.readline().decode().strip() if ready else ""
        assert line, "the server did not start: " + "".join(self.log)
        self.url = line
        if line.startswith("unix:"):
            self.address = line.removeprefix("unix:")
        else:
            assert line.startswith("https://" if tls else "http://"), line
            host, _, port = line.partition("://")[2].rpartition(":")
            self.address = (host.strip("[]"), int(port))

    @functools.cached_property
    def golden(self):
        """The reply to GOOD as it was first; must never change."""
        reply = self.post("/embed", GOOD)
        assert reply.status == 200, reply
        return reply.body

    def assert_unharmed(self):
        """The same process, ready, and a text's vector the same to the last bit."""
        assert self.process.poll() is None
        assert self.get("/readyz").status == 200
        assert self.post("/embed", GOOD).body == self.golden

    def _read_log(self):
        for line in self.process.stderr or ():
            self.log.append(line.decode())

    def connect(self):
        return Connection(self.address, self.tls)

    def ask(self, method, path, body=None, fields=()):
        with self.connect() as connection:
            connection.send(request(method, path, body, [*fields, ("Connection", "close")]))
            reply = connection.read_reply(head_only=method == "HEAD")
            assert reply is not None, "no reply"
            return reply

    def post(self, path, body, fields=()):
        return self.ask("POST", path, body, fields)

    def get(self, path, fields=()):
        return self.ask("GET", path, None, fields)

    def vectors(self, texts, **more):
        reply = self.post("/embed", {"inputs": texts, **more})
        assert reply.status == 200, reply
        return numpy.array(reply.json(), dtype=numpy.float32)

    def metric(self, name):
        """The value of a metric; 0 when it is not there yet."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split(" ")[-1])
        return 0.0

    def wait_for_metric(self, name, condition):
        command_line.wait_until(lambda: condition(self.metric(name)))

    def end(self):
        """Sends SIGTERM; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS_MAX)
        self._reader.join(SECONDS_MAX)
        return code


@contextlib.contextmanager
def serving(*options, model, port=("--port", "0"), tls=None, **more):
    process = command_line.start("serve", *port, *options, model=model, **more)
    with process, contextlib.ExitStack() as ending:  # what waits for it has limits of its own
        ending.callback(process.kill)
        yield Server(process, tls)


def floats(text):
    """OpenAI's base64."""
    return numpy.frombuffer(base64.b64decode(text), dtype="<f4")


def same(left, right):
    numpy.testing.assert_allclose(left, right, atol=1e-6)
