# In: texts to /embed_all. Out: whether every token has its vector, in batches with other requests
# too, and whether a reply that is too large is refused before it is made.
import threading

import numpy
import pytest

import command_line
import serving
from serving import TEXTS, request, same
from tiny_qwen3 import write_tiny_qwen3

TOKENS_MAX, HIDDEN = 64, 32  # of the small model
LONG = "word " * 100


def token_vectors(server, inputs, **more):
    reply = server.post("/embed_all", {"inputs": inputs, **more})
    assert reply.status == 200, reply
    return [numpy.array(text, dtype=numpy.float32) for text in reply.json()]


def ids_of(server, texts, *options):
    answer = command_line.run("tokenize", *options, *texts, model=server.process.args[3])
    return [line["ids"] for line in answer.lines()]


def unit_mean(vectors):
    mean = vectors.mean(axis=0, dtype=numpy.float64)
    return mean / numpy.linalg.norm(mean)


def reply_bytes(tokens):
    """What the server reckons with: 16 bytes a number, and brackets."""
    return tokens * (16 * HIDDEN + 6) + 2


def test_the_mean_of_a_texts_tokens_is_its_vector(server, expected):
    given = token_vectors(server, TEXTS)
    ids = ids_of(server, TEXTS)
    assert [vectors.shape for vectors in given] == [(len(text), HIDDEN) for text in ids]
    same([unit_mean(vectors) for vectors in given], expected)
    # Each token has its own.
    assert not numpy.allclose(given[0][0], given[0][1])
    alone, = token_vectors(server, TEXTS[2])
    same(alone, given[2])
    for one, other in zip(token_vectors(server, ids), given, strict=True):
        same(one, other)


def test_members_are_those_of_embed(server):
    ids, = ids_of(server, ["hello"], "--prompt", "query")
    vectors, = token_vectors(server, "hello", prompt_name="query")
    assert len(vectors) == len(ids) > len(token_vectors(server, "hello")[0])
    cut, = token_vectors(server, LONG)
    assert len(cut) == TOKENS_MAX
    left, = token_vectors(server, "other " + LONG, truncation_direction="left")
    same(left, cut)
    refused = server.post("/embed_all", {"inputs": ["a", LONG], "truncate": False})
    assert refused.status == 422 and refused.json()["error"].startswith("inputs[1]: ")
    assert server.post("/embed_all", {"inputs": ""}).json()["error_type"] == "empty"
    assert server.post("/embed_all", {"inputs": [30522]}).status == 422
    assert server.post("/embed_all", {"inputs": "a", "prompt_name": "none"}).status == 422


def test_it_is_counted_as_other_requests_are(server):
    before = {name: server.metric(name) for name in
              ["te_embed_success", "te_embed_duration_count", "te_request_success{method=\"batch\"}"]}
    reply = server.post("/embed_all", {"inputs": ["a b", "c"]})
    assert int(reply.fields["x-compute-tokens"]) == sum(map(len, reply.json()))
    grown = [server.metric(name) - value for name, value in before.items()]
    assert grown == [2, 2, 1]
    server.wait_for_metric("textvec_bytes_in_flight", lambda value: value == 0)


def test_both_kinds_share_batches(server):
    """A batch may hold texts that want one vector beside texts that want one a token."""
    alone = {text: (server.vectors(text)[0], token_vectors(server, text)[0]) for text in TEXTS}
    wrong = []

    def client(text, path):
        with server.connect() as connection:
            for _ in range(20):
                connection.send(request("POST", path, {"inputs": [text]}))
                got = numpy.float32(connection.read_reply().json()[0])
                if not numpy.allclose(got, alone[text][path == "/embed_all"], atol=1e-6):
                    wrong.append((text, path))

    threads = [threading.Thread(target=client, args=(text, path))
               for text in TEXTS for path in ["/embed", "/embed_all"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_reply_has_a_limit(tiny, extra):
    with serving.serving("--reply-bytes", str(reply_bytes(TOKENS_MAX) + extra),
                         model=tiny) as server:
        reply = server.post("/embed_all", {"inputs": LONG})
        assert reply.status == (422 if extra < 0 else 200)
        if extra < 0:
            assert reply.json()["error_type"] == "validation"
            assert f"{TOKENS_MAX} tokens" in reply.json()["error"]
            assert str(reply_bytes(TOKENS_MAX)) in reply.json()["error"]
        else:
            assert len(reply.body) <= reply_bytes(TOKENS_MAX)
        assert server.post("/embed_all", {"inputs": [LONG, "a"]}).status == 422  # both together
        assert len(token_vectors(server, "a")[0]) == 3
        assert server.vectors([LONG] * 100).shape == (100, HIDDEN)  # of which no token is given
        server.assert_unharmed()
        assert server.end() == 0


def test_what_all_replies_take_has_a_limit(tiny):
    # The reply, and the numbers that it is made of.
    room = reply_bytes(TOKENS_MAX) + TOKENS_MAX * HIDDEN * 4
    with serving.serving("--queue-bytes", str(room), "--body-bytes", "10000",
                         model=tiny) as server:
        assert server.post("/embed_all", {"inputs": LONG}).status == 200
        assert server.post("/embed_all", {"inputs": [LONG, "a"]}).status == 422  # it never fits
        with server.connect() as waiting:
            head = request("POST", "/embed", b"x" * 1000).removesuffix(b"x" * 1000)
            waiting.send(head + b"x")
            server.wait_for_metric("textvec_bytes_in_flight", lambda value: value >= 1000)
            busy = server.post("/embed_all", {"inputs": LONG})
            assert busy.status == 429 and busy.fields["retry-after"]
            assert len(token_vectors(server, "a")[0]) == 3
        server.wait_for_metric("textvec_bytes_in_flight", lambda value: value == 0)
        assert server.post("/embed_all", {"inputs": LONG}).status == 200
        assert server.end() == 0


def test_a_model_that_pools_in_its_graph_has_none(tmp_path):
    with serving.serving(model=write_tiny_qwen3(tmp_path / "qwen3")) as server:
        reply = server.post("/embed_all", {"inputs": "a"})
        assert (reply.status, reply.json()["error_type"]) == (424, "backend")
        assert "none of its tokens" in reply.json()["error"]
        assert server.post("/embed", {"inputs": "a"}).status == 200
        assert server.end() == 0
