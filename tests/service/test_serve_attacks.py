# In: what careless and hostile clients send (the rows of docs/reliability.md). Out: whether each
# gets the answer that the row says, and the server goes on as if nothing had been: the same process,
# ready, and a text's vector the same to the last bit.
import json
import socket
import threading

import numpy
import pytest

import command_line
import serving
from serving import GOLDEN, GOOD, request

# What a request that was smuggled in would ask for; it must never be answered.
MARKER = b"GET /info HTTP/1.1\r\nHost: textvec\r\n\r\n"


@pytest.fixture(autouse=True)
def unharmed(server):
    assert server.golden  # asked for before the attack
    yield
    server.assert_unharmed()


def head(*fields, method="POST", path="/embed", version="HTTP/1.1"):
    lines = [f"{method} {path} {version}".encode(), b"Host: textvec", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunked(body, *fields):
    return head(b"Transfer-Encoding: chunked", *fields) + body


LENGTH = b"Content-Length: %d" % len(GOOD)

# Name, bytes, statuses of which one comes; then the connection is closed and nothing more comes.
FRAMING = [
    ("length and chunks", head(LENGTH, b"Transfer-Encoding: chunked") + GOOD, {400}),
    ("two lengths", head(LENGTH, b"Content-Length: 0") + GOOD + MARKER, {400}),
    ("one length twice", head(LENGTH, LENGTH) + GOOD, {400}),
    ("a list of lengths", head(b"Content-Length: 5, 5") + b"{}   ", {400}),
    ("a length with a sign", head(b"Content-Length: +5") + b"{}   ", {400}),
    ("a hexadecimal length", head(b"Content-Length: 0x5") + b"{}   ", {400}),
    ("a negative length", head(b"Content-Length: -1") + MARKER, {400}),
    ("a length of 2^64", head(b"Content-Length: 18446744073709551616"), {400}),
    ("a length of 1 GB", head(b"Content-Length: 1000000000"), {413}),
    ("an unknown encoding", head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + MARKER, {501}),
    ("two encodings", head(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + MARKER, {501}),
    ("gzip as encoding", head(b"Transfer-Encoding: gzip") + MARKER, {501}),
    ("an encoding twice", chunked(b"0\r\n\r\n" + MARKER, b"Transfer-Encoding: chunked"), {400}),
    ("a vertical tab before chunked", head(b"Transfer-Encoding: \x0bchunked") + MARKER, {400}),
    ("chunks in HTTP/1.0", head(b"Transfer-Encoding: chunked", version="HTTP/1.0") + b"0\r\n\r\n"
     + MARKER, {400}),
    ("a chunk size of 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), {400}),
    ("a chunk size of 2^64-1", chunked(b"FFFFFFFFFFFFFFFF\r\nhello"), {400, 413}),
    ("a chunk size of 2^64", chunked(b"10000000000000000\r\nhello"), {400, 413}),
    ("a chunk size with a mark", chunked(b"0_0\r\n\r\n" + MARKER), {400}),
    ("no chunk size", chunked(b"\r\nhello\r\n0\r\n\r\n"), {400}),
    ("a chunk size with a sign", chunked(b"+5\r\nhello\r\n0\r\n\r\n"), {400}),
    ("a bare line feed after a chunk size", chunked(b"5\nhello\r\n0\r\n\r\n"), {400}),
    ("a line feed in a chunk's extension", chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n" + MARKER), {400}),
    ("a long chunk extension", chunked(b"5;a=" + b"b" * 8192 + b"\r\nhello\r\n0\r\n\r\n"), {400}),
    ("no line end after a chunk", chunked(b"5\r\nhelloX\r\n0\r\n\r\n"), {400}),
    ("17 MB in one chunk", chunked(b"1100000\r\n" + b" " * 0x1100000), {413}),
    ("a header line of 9 KB", head(b"A: " + b"b" * 9000), {431}),
    ("10,000 headers", head(*[b"A: b"] * 10000), {431}),
    ("a folded header", head(b"A: b", b" c: d"), {400}),
    ("a blank before the colon", head(b"Content-Length : 5") + b"hello", {400}),
    ("a NUL in a value", head(b"A: b\0c"), {400}),
    ("a return in a value", head(b"A: b\rc"), {400}),
    ("a bare line feed in the head", b"POST /embed HTTP/1.1\nHost: a\n\n", {400}),
    ("no host", b"GET /livez HTTP/1.1\r\n\r\n", {400}),
    ("two hosts", head(b"Host: other", method="GET", path="/livez"), {400}),
    ("HTTP/0.9", b"GET /livez\r\n\r\n", {400}),
    ("HTTP/1.2", b"GET /livez HTTP/1.2\r\nHost: a\r\n\r\n", {505}),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
    ("a target of 64 KB", head(method="GET", path="/" + "a" * 65536), {414}),
    ("a target of 3 KB", head(method="GET", path="/" + "a" * 3000), {414}),
    ("a target that is no path", head(method="GET", path="livez"), {400}),
    ("an expectation of 1 GB", head(b"Expect: 100-continue", b"Content-Length: 1000000000"), {413}),
    ("an unknown expectation", head(b"Expect: tea", LENGTH) + GOOD, {417}),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, {400}),
    ("noise", bytes(range(256)) * 4, {400}),
    ("a gzipped body", head(b"Content-Encoding: gzip", LENGTH) + GOOD, {415}),
    ("text/plain", head(b"Content-Type: text/plain", LENGTH) + GOOD, {415}),
    ("latin-1", head(b"Content-Type: application/json; charset=latin1", LENGTH) + GOOD, {415}),
    ("a path that is none", head(LENGTH, path="//embed") + GOOD, {404}),
    ("another method", head(LENGTH, method="PUT") + GOOD, {405}),
    ("two keys", head(b"Authorization: Bearer a", b"Authorization: Bearer b", LENGTH) + GOOD, {400}),
]


@pytest.mark.parametrize(("data", "statuses"), [row[1:] for row in FRAMING],
                         ids=[row[0] for row in FRAMING])
def test_damaged_framing_ends_the_connection(server, data, statuses):
    with server.connect() as connection:
        connection.send_what_is_taken(data)
        reply = connection.read_reply()
        assert reply is not None and reply.status in statuses, reply
        assert reply.fields["content-type"] == "application/json"
        assert reply.json()["error"] and reply.json()["error_type"]
        assert reply.fields["connection"] == "close"
        assert reply.fields["x-request-id"]
        # Neither the rest of the request nor what hides in it is taken for another request.
        assert connection.is_closed()


def test_garbage_after_a_good_request(server):
    with server.connect() as connection:
        connection.send(head(LENGTH) + GOOD + b"\x01\x02 nonsense\r\n\r\n")
        assert connection.read_reply().body == server.golden
        assert connection.read_reply().status == 400
        assert connection.is_closed()


def test_good_framing_of_every_kind(server):
    good = [
        head(LENGTH) + GOOD,
        head(LENGTH, version="HTTP/1.0") + GOOD,
        chunked(b"%X\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)),
        chunked(b"%x;a=b\r\n%b\r\n0;c\r\nTrailer: value\r\nHost: other\r\n\r\n" % (len(GOOD), GOOD)),
        chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"),
        head(LENGTH, path="http://somewhere/embed") + GOOD,
        b"\r\n" + head(LENGTH) + GOOD,
    ]
    for data in good:
        with server.connect() as connection:
            connection.send(data)
            assert connection.read_reply().body == server.golden, data
        with server.connect() as connection:  # in as many pieces as it has bytes
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                connection.send(bytes([byte]))
            assert connection.read_reply().body == server.golden, data


def test_three_megabytes_of_one_byte_chunks(server):
    body = b" " * 3_000_000 + GOOD
    with server.connect() as connection:
        connection.send_what_is_taken(
            chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"))
        assert connection.read_reply().body == server.golden


def test_100_continue(server):
    with server.connect() as connection:
        connection.send(head(b"Expect: 100-continue", LENGTH))
        assert connection.read_reply().status == 100
        connection.send(GOOD)
        assert connection.read_reply().body == server.golden


def test_a_hundred_pipelined_requests_are_answered_in_order(server):
    texts = [f"text number {i}" for i in range(100)]
    wanted = [json.loads(server.post("/embed", {"inputs": text}).body) for text in texts]
    with server.connect() as connection:
        connection.send(b"".join(request("POST", "/embed", {"inputs": text}) for text in texts))
        for vector in wanted:
            assert connection.read_reply().json() == vector


def test_more_pipelined_than_is_read_ahead(server):
    many = request("GET", "/livez") * 5000  # some hundred kilobytes
    with server.connect() as connection:
        connection.socket.settimeout(serving.SECONDS_MAX)
        sender = threading.Thread(target=connection.send, args=(many,))
        sender.start()
        for _ in range(5000):
            assert connection.read_reply().status == 200
        sender.join()


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/nowhere"])
def test_clients_that_leave_in_the_middle(server, path):
    data = request("POST", path, {"inputs": [GOLDEN] * 100, "input": [GOLDEN] * 100})
    for cut in range(1, len(data), 97):
        for reset in [False, True]:
            with server.connect() as connection:
                connection.send(data[:cut])
                if reset:
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                 b"\1\0\0\0\0\0\0\0")
    command_line.wait_until(lambda: server.metric("textvec_connections") == 1)
    assert server.metric("te_queue_size") == 0
    assert server.metric("textvec_requests_in_flight") == 0
    assert server.metric("textvec_bytes_in_flight") == 0


def test_a_client_that_half_closes_is_one_that_left(server):
    with server.connect() as connection:
        connection.send(b"POST /embed HTTP/1.1\r\nHost: a\r\n")
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.read_reply() is None


# Body, status and code in OpenAI's words, status in TEI's. "IN" is "input" there, "inputs" here.
BODIES = [
    (b"", 400, "invalid_argument", 422),
    (b"{}", 400, "invalid_argument", 422),
    (b'{"IN":null}', 400, "invalid_argument", 422),
    (b'[]', 400, "invalid_argument", 422),
    (b'{"IN":"a"', 400, "invalid_json", 400),
    (b'{"IN":"a"}x', 400, "invalid_json", 400),
    (b'{"IN":"a"}{"IN":"a"}', 400, "invalid_json", 400),
    (b'{"IN":NaN}', 400, "invalid_json", 400),
    (b'{"IN":"a","x":Infinity}', 400, "invalid_json", 400),
    (b'{"IN":"a"}//', 400, "invalid_json", 400),
    (b"[" * 100_000, 400, "invalid_json", 400),
    (b'{"a":' * 100_000, 400, "invalid_json", 400),
    (b'{"IN":[]}', 400, "empty_input", 400),
    (b'{"IN":""}', 400, "empty_input", 400),
    (b'{"IN":["a",""]}', 400, "empty_input", 400),
    (b'{"IN":[[]]}', 400, "empty_input", 400),
    (b'{"IN":[1,"a"]}', 400, "invalid_argument", 422),
    (b'{"IN":[[1],"a"]}', 400, "invalid_argument", 422),
    (b'{"IN":{"x":1}}', 400, "invalid_argument", 422),
    (b'{"IN":true}', 400, "invalid_argument", 422),
    (b'{"IN":[-1]}', 400, "invalid_argument", 422),
    (b'{"IN":[30522]}', 400, "invalid_argument", 422),
    (b'{"IN":[2147483648]}', 400, "invalid_argument", 422),
    (b'{"IN":[9223372036854775808]}', 400, "invalid_argument", 422),
    (b'{"IN":[1.5]}', 400, "invalid_argument", 422),
    (json.dumps({"IN": ["a"] * 2049}).encode(), 400, "invalid_argument", 422),
    (b'{"IN":"\xff"}', 400, "invalid_utf8", 422),
    (b'{"IN":"\xc0\x80"}', 400, "invalid_utf8", 422),
    (b'{"IN":"\xed\xa0\x80"}', 400, "invalid_utf8", 422),
    (b'{"IN":"\xf0\x9f\x98"}', 400, "invalid_utf8", 422),
    (rb'{"IN":"\ud800"}', 400, "invalid_json", 400),
    (rb'{"IN":"\udc00"}', 400, "invalid_json", 400),
    (rb'{"IN":"\udc00\ud800"}', 400, "invalid_json", 400),
    (b'\xef\xbb\xbf{"IN":"a"}', 400, "invalid_json", 400),
    ('{"IN":"a"}'.encode("utf-16"), 400, "invalid_utf8", 422),
    (b'{"IN":"a","dimensions":0}', 400, "invalid_argument", 422),
    (b'{"IN":"a","dimensions":-1}', 400, "invalid_argument", 422),
    (b'{"IN":"a","dimensions":1.5}', 400, "invalid_argument", 422),
    (b'{"IN":"a","dimensions":"8"}', 400, "invalid_argument", 422),
    (b'{"IN":"a","dimensions":33}', 400, "invalid_argument", 422),
    (b'{"IN":"a","dimensions":9223372036854775808}', 400, "invalid_argument", 422),
    (b'{"IN":"a","truncation_direction":"up"}', 400, "invalid_argument", 422),
    (b'{"IN":"a","prompt_name":"unknown"}', 400, "invalid_argument", 422),
    (json.dumps({"IN": "word " * 100, "truncate": False}).encode(), 400,
     "context_length_exceeded", 422),
    (json.dumps({"IN": "a" * 1_048_577}).encode(), 400, "invalid_argument", 422),
]


@pytest.mark.parametrize("row", BODIES, ids=lambda row: repr(row[0][:40]))
def test_bad_bodies(server, row):
    body, status, code, tei_status = row
    encoded = body
    for old, new in [("IN", "input"), ("IN", "inputs")]:
        if b"IN" in body:
            encoded = body.replace(b'"IN"', f'"{new}"'.encode())
        if new == "input":
            reply = server.post("/v1/embeddings", encoded)
            assert reply.status == status, reply
            error = reply.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["code"] == code, error
            assert error["message"] and error["type"] == "invalid_request_error"
        else:
            reply = server.post("/embed", encoded)
            assert reply.status == tei_status, reply
            assert set(reply.json()) == {"error", "error_type"}


def test_a_model_that_is_not_served(server):
    for name in ["gpt", "../../etc/passwd", "a\0b", "x" * 1_000_000]:
        reply = server.post("/v1/embeddings", {"input": "a", "model": name})
        assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert len(reply.body) < 1000
    for name in ["encoding_format", "input_type"]:
        reply = server.post("/v1/embeddings", {"input": "a", name: "hex"})
        assert (reply.status, reply.json()["error"]["param"]) == (400, name)
    assert server.post("/v1/embeddings", {"input": "a", "user": "u" * 1_000_000}).status == 200


@pytest.mark.parametrize("text", [
    "a" * 1_000_000, "^" * 1_000_000, " " * 1_000_000, "a\u0301" * 300_000, "\u0301" * 500_000,
    "a " * 500_000, "\U0001f468\u200d\U0001f469" * 50_000, "[CLS] [SEP] [MASK] <s>", "\0", "   ",
    "\u202e\u0645\u0631\u062d\u0628\u0627", "\ufffd\ue000\U000e0001", "e\u0301\u00e9"])
def test_odd_texts_have_vectors(server, text):
    reply = server.post("/embed", {"inputs": text})
    assert reply.status == 200, reply
    assert numpy.isfinite(numpy.array(reply.json())).all()


def test_wrong_keys_say_nothing_of_a_path(tiny, tmp_path):
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    with serving.serving("--api-keys", tmp_path / "keys", model=tiny) as server:
        bodies = set()
        for path in ["/embed", "//embed", "/v1/../embed", "/%65mbed", "/EMBED", "/nowhere"]:
            reply = server.ask("POST", path, {"inputs": "a"})
            assert reply.status == 401
            if not path.startswith("/v1/"):  # another dialect
                bodies.add(reply.body)
        assert len(bodies) == 1
        with server.connect() as connection:
            connection.send(b"POST http://a/embed HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.read_reply().status == 401
        assert server.end() == 0


def test_slow_clients(tiny):
    with serving.serving("--head-timeout", "1", "--body-timeout", "1", "--idle-timeout", "1",
                         model=tiny) as server:
        with server.connect() as idle, server.connect() as slow_head, server.connect() as slow_body:
            slow_head.send(b"POST /embed HTTP/1.1\r\nHo")
            slow_body.send(head(LENGTH) + GOOD[:5])
            assert slow_head.read_reply().status == 408
            assert slow_head.is_closed()
            assert slow_body.read_reply().status == 408
            assert slow_body.is_closed()
            assert idle.is_closed()
        assert server.end() == 0


def test_a_client_that_does_not_read(tiny, tmp_path):
    path = str(tmp_path / "s")
    with serving.serving("--write-timeout", "0.2", "--unix-socket", path, model=tiny,
                         port=()) as server:
        with server.connect() as connection:
            # More than a unix socket holds, and none of it is read.
            connection.send(request("POST", "/embed", {"inputs": ["a"] * 800}))
            command_line.wait_until(lambda: server.metric("textvec_connections") == 2)
            command_line.wait_until(lambda: server.metric("textvec_connections") == 1)
        assert server.metric("textvec_bytes_in_flight") == 0
        assert server.end() == 0


def test_a_text_without_a_vector_fails_alone(own_tiny):
    """The embedding of one word is not a number; so is the vector of every text that has it."""
    file = own_tiny / "model.safetensors"
    data = bytearray(file.read_bytes())
    size = int.from_bytes(data[:8], "little")
    place = json.loads(data[8:8 + size])["embeddings.word_embeddings.weight"]["data_offsets"][0]
    word = json.loads((own_tiny / "tokenizer.json").read_text())["model"]["vocab"]["poison"]
    at = 8 + size + place + word * 32 * 4
    data[at:at + 4] = b"\x00\x00\xc0\x7f"
    file.write_bytes(data)
    with serving.serving(model=own_tiny) as server:
        wanted = server.post("/embed", {"inputs": ["good", "words"]}).body
        reply = server.post("/v1/embeddings", {"input": ["good", "words", "poison here"]})
        error = reply.json()["error"]
        assert (reply.status, error["code"], error["param"]) == (422, "non_finite", "input[2]")
        reply = server.post("/embed", {"inputs": "poison"})
        assert (reply.status, reply.json()["error_type"]) == (424, "backend")
        # Many clients, one of them with the bad text: the others get their vectors.
        with server.connect() as bad:
            connections = [server.connect() for _ in range(4)]
            bad.send(request("POST", "/embed", {"inputs": ["poison"] * 8}))
            for connection in connections:
                connection.send(request("POST", "/embed", {"inputs": ["good", "words"]}))
            assert bad.read_reply().status == 424
            for connection in connections:
                numpy.testing.assert_allclose(connection.read_reply().json(), json.loads(wanted),
                                              atol=1e-6)
                connection.socket.close()
        assert server.end() == 0


def test_errors_show_nothing_of_the_machine(server, tiny):
    for path, body in [("/embed", b"{"), ("/v1/embeddings", {"input": [40_000]}), ("/nowhere", {})]:
        reply = server.post(path, body)
        for secret in [str(tiny), "0x", "onnx", "/tmp", "src/"]:
            assert secret.encode() not in reply.body


def test_texts_of_as_many_tokens_as_the_model_takes(server):
    for words, fits in [(61, True), (62, True), (63, False)]:  # and two special tokens, of 64
        text = "word " * words
        reply = server.post("/v1/embeddings", {"input": text})
        assert reply.status == 200
        assert reply.json()["data"][0].get("truncated", False) is not fits
        for path, name, status in [("/v1/embeddings", "input", 400), ("/embed", "inputs", 422)]:
            reply = server.post(path, {name: text, "truncate": False})
            assert reply.status == (200 if fits else status), reply
        ids = [101] + [7592] * words + [102]
        assert server.post("/embed", {"inputs": ids}).status == (200 if fits else 422)
