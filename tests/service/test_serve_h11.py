# In: streams of bytes: requests as they should be, the attacks of test_serve_attacks.py, and thousands
# made of both by a seeded generator. Out: whether the server sees the same requests in them as h11,
# another HTTP parser: whoever sees one request more than the next in line can be made to answer what
# nobody asked. Where they differ, the server must be the stricter one, for a reason listed here.
import concurrent.futures
import json
import random

import h11
import pytest

import serving
import test_serve_attacks

SEED = 1
STREAMS = 8000
CONNECTIONS = 48
# Ends every stream, so that nobody waits for more but where a length or a line says so.
LAST = b"GET /livez HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"

# What the server says when it refuses what h11 takes, and why that is meant so.
STRICTER = {
    "stated more than once": "two framings are how requests are smuggled (RFC 9112, 6.3)",
    "does not end with CR LF": "a bare line feed ends a line for some, and not for others",
    "holds a control character": "in names and values; h11 takes them for cookies' sake",
    "is no \"Name: value\"": "folded lines are obsolete (RFC 9112, 5.2)",
    "the Host field is no host": "h11 takes any value",
    "the request's target is no path": "h11 leaves targets to the application",
    "only HTTP/1.1 and HTTP/1.0": "h11 takes any digits",
    "HTTP/1.0 has no Transfer-Encoding": "a framing that an older proxy does not see",
    "is no number of bytes": "h11 takes lists of equal lengths",
    "the limit is": "of a body, a target",
    "has more than": "bytes of a head, a line, fields",
    "the request's method is no word": "methods of over 32 letters",
    "the only expectation": "another expectation than 100-continue",
    "a body's Content-Type": "chunks are a body before it is known that they are empty",
    "the body's chunks, or the head, are damaged": "blanks, extensions, trailers that h11 takes",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tiny):
    """Gives up what does not come soon, so that a stream that ends too early ends by itself."""
    with serving.serving("--head-timeout", "2", "--body-timeout", "2", "--idle-timeout", "2",
                         model=tiny) as running:
        assert running.golden
        yield running
        running.assert_unharmed()
        assert running.end() == 0


# --- What h11 sees


def first_request(stream):
    """Its head and body as far as they are there, how it ends (whole, refused, waiting), and the rest."""
    # Blank lines before a request are to be skipped (RFC 9112, 2.2); h11 refuses them.
    while stream.startswith(b"\r\n"):
        stream = stream[2:]
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    request, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return request, body, "waiting", b""
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                break
    except h11.RemoteProtocolError:
        return request, body, "refused", b""
    connection.send(h11.Response(status_code=400, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    stays = connection.our_state is h11.DONE
    return request, body, "whole", connection.trailing_data[0] if stays else None


def seen_by_h11(stream):
    """The whole requests of a stream, how it ends, and whether the head of one more was good."""
    requests = []
    while True:
        request, body, end, stream = first_request(stream)
        if end != "whole":
            return requests, end, request is not None
        requests.append((request, body))
        if stream is None:
            return requests, "closed", False


FRAMING_FIELDS = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"}


def plainly(request, body):
    """The same request as one that no parser can mistake."""
    fields = [b"%b: %b\r\n" % (name, value) for name, value in request.headers
              if name not in FRAMING_FIELDS]
    return b"%b %b HTTP/1.1\r\nHost: textvec\r\nContent-Length: %d\r\nConnection: close\r\n%b\r\n%b" % (
        request.method, request.target, len(body), b"".join(fields), body)


# --- What the server sees


def answers(server, stream):
    """All replies until the server closes, which it does for every stream."""
    replies = []
    with server.connect() as connection:
        connection.send_what_is_taken(stream)
        while (reply := connection.read_reply()) is not None:
            if reply.status != 100:
                replies.append(reply)
    return replies


def message_of(reply):
    try:
        error = reply.json()["error"]
    except (ValueError, TypeError, KeyError):
        return ""
    return error["message"] if isinstance(error, dict) else error


class Plain:
    """The replies to requests that are plain, each asked for once."""

    def __init__(self, server):
        self.server = server
        self.known = {}

    def reply_to(self, data):
        if data not in self.known:
            self.known[data] = answers(self.server, data)[0]
        return self.known[data]


def compare(server, plain, stream):
    """None where server and h11 agree; else why they need not, or what is wrong."""
    requests, end, has_head = seen_by_h11(stream)
    replies = answers(server, stream)
    closes = False
    for i, reply in enumerate(replies):
        is_last = i + 1 == len(replies)
        closes = is_last and reply.fields.get("connection") == "close"
        if i == len(requests):
            # A head may be enough for an answer, and then nothing behind it is read.
            refuses = reply.status == 408 if end == "waiting" else reply.status >= 400
            if closes and end != "closed" and (has_head or refuses):
                return None
            return f"WRONG: the server answers more than h11 sees ({end}): {reply}"
        wanted = plain.reply_to(plainly(*requests[i]))
        if (reply.status, reply.body) == (wanted.status, wanted.body):
            continue
        reasons = [reason for reason in STRICTER if reason in message_of(reply)]
        if closes and reply.status >= 400 and reasons:
            return reasons[0]
        return f"WRONG: h11 sees {requests[i]}, the server says {reply}, {wanted} to the same plainly"
    if len(replies) < len(requests) and not closes:
        return f"WRONG: {len(replies)} replies to {len(requests)} requests"
    # Answered from its head, and closed with what is behind unread.
    return None


# --- Streams

BODIES = [b"", b"{}", b'{"inputs":"a"}', b'{"inputs":["two","texts"]}', b"GET / HTTP/1.1\r\n\r\n",
          json.dumps({"inputs": "x" * 300}).encode()]
FIELDS = [b"A: b", b"A:b", b"A: \t b \t", b"A:", b"A : b", b" A: b", b"A", b": b", b"A: \x01", b"A: \x7f",
          b"A: \xe9", b"A: b\rc", b"A: b\nC: d", b"A: b\r\n c", b"Host: other", b"Connection: close",
          b"Connection: keep-alive", b"Connection: x, close", b"Content-Length: 0", b"Content-Length: 5",
          b"Content-Length: 14", b"Content-Length: +14", b"Content-Length: 0x0", b"Content-Length: 14, 14",
          b"Content-Length: -1", b"Content-Length:", b"Content-Length: 014", b"Content-Length: 1 4",
          b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked",
          b"Transfer-Encoding: Chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x",
          b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:\x0bchunked",
          b"Transfer-Encoding: identity", b"transfer-encoding : chunked", b"Expect: 100-continue",
          b"Expect: tea", b"Content-Type: application/json", b"Content-Type: text/plain",
          b"X" * 300 + b": y", b"A: " + b"b" * 9000, b"Trailer: A", b"Upgrade: h2c"]  # fmt: skip
METHODS = [b"POST", b"POST", b"POST", b"GET", b"PUT", b"post", b"P" * 33, b"PO ST", b""]
TARGETS = [b"/tokenize", b"/tokenize", b"/tokenize", b"/livez", b"/nowhere", b"http://a/tokenize", b"*",
           b"tokenize", b"/tokenize?a=b#c", b"/\xe9", b"/" + b"a" * 2100]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/11", b"http/1.1", b""]
LINE_ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"]
CHUNK_SIZES = [b"%x", b"%x", b"%X", b"0%x", b"%x;a=b", b"%x ", b" %x", b"0x%x", b"+%x", b"%x;", b"%x\t",
               b"%xg", b"0000000000000000%x", b"%x;a=\"\r\n\""]  # fmt: skip


def chunks(draw, body):
    made = b""
    while body:
        size = draw.randint(1, len(body))
        form = draw.choice(CHUNK_SIZES) if draw.random() < 0.1 else b"%x"
        made += form % size + draw.choice(LINE_ENDS) + body[:size]
        made += b"\r\n" if draw.random() < 0.97 else draw.choice([b"", b"\n", b"x\r\n"])
        body = body[size:]
    trailer = draw.choice(FIELDS) + b"\r\n" if draw.random() < 0.1 else b""
    return made + b"0\r\n" + trailer + (b"\r\n" if draw.random() < 0.97 else b"")


def draw_request(draw):
    def rarely(usual, others):
        return draw.choice(others) if draw.random() < 0.05 else usual

    body = draw.choice(BODIES)
    fields = [b"Host: textvec"]
    if draw.random() < 0.4:
        fields.append(b"Transfer-Encoding: chunked")
        body = chunks(draw, body)
    else:
        fields.append(b"Content-Length: %d" % len(body))
    while draw.random() < 0.3:
        fields.insert(draw.randint(0, len(fields)), draw.choice(FIELDS))
    if draw.random() < 0.05:
        fields.pop(draw.randrange(len(fields)))
    lines = [b" ".join([rarely(b"POST", METHODS), rarely(b"/tokenize", TARGETS),
                        rarely(b"HTTP/1.1", VERSIONS)]), *fields, b""]  # fmt: skip
    return b"".join(line + rarely(b"\r\n", LINE_ENDS) for line in lines) + body


def draw_stream(draw):
    stream = bytearray(b"".join(draw_request(draw) for _ in range(draw.randint(1, 3))))
    while draw.random() < 0.3:  # damage at random places
        place = draw.randrange(len(stream))
        what = draw.randrange(4)
        if what == 0:
            stream[place] = draw.choice(b"\r\n\0 \t:,;0a\xff")
        elif what == 1:
            del stream[place]
        elif what == 2:
            stream.insert(place, draw.choice(b"\r\n\0 \t:,;0a\xff"))
        else:
            stream[place:place] = stream[place:place + draw.randint(1, 40)]
    return bytes(stream) + LAST


def check(server, streams):
    plain = Plain(server)
    found = {}
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        verdicts = pool.map(lambda stream: compare(server, plain, stream), streams)
        for stream, verdict in zip(streams, verdicts, strict=True):
            found.setdefault(verdict, []).append(stream)
    wrong = {verdict: streams for verdict, streams in found.items()
             if verdict is not None and verdict.startswith("WRONG")}
    for verdict, examples in list(wrong.items())[:5]:
        print(verdict, examples[0], sep="\n")
    assert not wrong, f"{len(wrong)} differences"
    return found


def test_attacks_are_seen_as_h11_sees_them_or_refused(server):
    attacks = [row[1] + LAST for row in test_serve_attacks.FRAMING]
    check(server, attacks)


def test_the_same_requests_as_h11(server):
    draw = random.Random(SEED)
    found = check(server, [draw_stream(draw) for _ in range(STREAMS)])
    # Neither may nearly everything be refused, nor nothing.
    assert len(found[None]) > STREAMS / 2
    assert len(found) > len(STRICTER) / 2, found.keys()
