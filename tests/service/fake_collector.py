"""In: nothing. Out: a collector of spans on loopback that speaks OTLP/HTTP with JSON, and misbehaves on
command."""
import dataclasses
import http.server
import json
import threading

import command_line


@dataclasses.dataclass
class Batch:
    path: str
    headers: dict
    body: dict
    status: int


def attributes(given):
    values = {}
    for item in given:
        (kind, value), = item["value"].items()
        assert kind in ("stringValue", "intValue"), item
        assert isinstance(value, str)  # of a number of 64 bits too
        values[item["key"]] = int(value) if kind == "intValue" else value
    return values


class Collector:
    """`answers` are statuses, or bytes that are written as they are, or a function that gets the
    handler; the last counts for the rest."""

    def __init__(self, *answers):
        self.answers = list(answers) or [200]
        self.batches = []
        self.let_go = threading.Event()
        self._lock = threading.Lock()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector._answer(self, body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def _answer(self, handler, body):
        with self._lock:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            status = answer if isinstance(answer, int) else 0
            self.batches.append(Batch(handler.path, dict(handler.headers), body, status))
        if callable(answer):
            handler.close_connection = True
            return answer(handler)
        handler.send_response(status)
        if status in (429, 503):
            handler.send_header("Retry-After", "1")
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self._server.server_address[1]

    def silent(self, _handler):
        self.let_go.wait(command_line.SECONDS_MAX)

    def endless(self, handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self._write_until_let_go(handler, b"x" * 65536)

    def endless_head(self, handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._write_until_let_go(handler, b"X-More: " + b"x" * 1000 + b"\r\n")

    def _write_until_let_go(self, handler, data):
        try:
            while not self.let_go.is_set():
                handler.wfile.write(data)
        except OSError:
            return

    def all_batches(self):
        with self._lock:
            return list(self.batches)

    def spans(self):
        """Of batches that were taken, by their beginning, with their attributes as a dict.

        They come as they end, which is behind the reply: a next connection's may be sooner.
        """
        found = []
        for batch in self.all_batches():
            if batch.status != 200:
                continue
            for resource in batch.body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    found += [dict(span, attributes=attributes(span.get("attributes", [])))
                              for span in scope["spans"]]
        return sorted(found, key=lambda span: int(span["startTimeUnixNano"]))

    def wait_for_spans(self, count):
        command_line.wait_until(lambda: len(self.spans()) >= count)
        return self.spans()
