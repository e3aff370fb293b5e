# In: requests as they should be. Out: whether `textvec serve` gives the command line's vectors in
# every dialect, keeps its limits, and lets nobody down who asked before it ended.
import json
import os
import resource
import signal
import threading

import numpy
import tokenizers

import command_line
import serving
from serving import TEXTS, floats, request, same


def test_openai_gives_the_command_lines_vectors(server, expected):
    reply = server.post("/v1/embeddings", {"input": TEXTS, "model": "tiny", "user": "u"})
    assert reply.status == 200, reply
    answer = reply.json()
    assert answer["object"] == "list" and answer["model"] == "tiny"
    assert [item["index"] for item in answer["data"]] == [0, 1, 2, 3]
    assert all(item["object"] == "embedding" for item in answer["data"])
    assert all("truncated" not in item for item in answer["data"])
    same([item["embedding"] for item in answer["data"]], expected)
    ids = [line["ids"] for line in command_line.run(
        "tokenize", *TEXTS, model=server.process.args[3]).lines()]
    tokens = sum(map(len, ids))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert reply.fields["content-type"] == "application/json"
    assert reply.fields["x-compute-tokens"] == str(tokens)
    assert reply.fields["x-request-id"]

    base64 = server.post("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"})
    for item, row in zip(base64.json()["data"], answer["data"], strict=True):
        assert (floats(item["embedding"]) == numpy.float32(row["embedding"])).all()

    # The same ids are the same texts, alone and in a list.
    lists = server.post("/v1/embeddings", {"input": ids}).json()["data"]
    same([item["embedding"] for item in lists], expected)
    one = server.post("/v1/embeddings", {"input": ids[1]}).json()["data"]
    same(one[0]["embedding"], expected[1])


def test_options_are_those_of_the_command_line(server, tiny):
    long = "word " * 100
    for members, options in [
        ({"dimensions": 5}, ["--dimensions", "5"]),
        ({"input_type": "query"}, ["--role", "query"]),
        ({"input_type": "document"}, ["--role", "document"]),
        ({"prompt_name": "query"}, ["--prompt", "query"]),
        ({"normalize": False}, ["--no-normalize"]),
        ({"truncation_direction": "left"}, ["--truncate-side", "left"]),
    ]:
        texts = ["hello there", long]
        answer = command_line.run("embed", *options, *texts, model=tiny)
        reply = server.post("/v1/embeddings", {"input": texts, **members})
        assert reply.status == 200, reply
        data = reply.json()["data"]
        same([item["embedding"] for item in data], answer.vectors())
        assert [item.get("truncated", False) for item in data] == [False, True]
        if "input_type" not in members:
            same(server.vectors(texts, **members), answer.vectors())


def test_tei_gives_the_command_lines_vectors(server, expected):
    same(server.vectors(TEXTS), expected)
    same(server.vectors(TEXTS[0]), expected[:1])
    for path in ["/", "/invocations"]:
        same(server.post(path, {"inputs": TEXTS}).json(), expected)
    answer = server.post("/similarity", {
        "inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}}).json()
    same(answer, expected @ expected[0])


def test_ollama_gives_the_command_lines_vectors(server, expected):
    answer = server.post("/api/embed", {"model": "tiny:latest", "input": TEXTS}).json()
    same(answer["embeddings"], expected)
    assert answer["model"] == "tiny" and answer["total_duration"] > 0
    assert answer["prompt_eval_count"] > len(TEXTS)


def test_tokenize_and_decode_agree_with_the_tokenizers_library(server, tiny):
    reference = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    texts = [*TEXTS, "a [SEP] b", "  two  blanks\n"]
    answer = server.post("/tokenize", {"inputs": texts}).json()
    ids = []
    for text, tokens in zip(texts, answer, strict=True):
        wanted = reference.encode(text)
        assert [token["id"] for token in tokens] == wanted.ids
        for token, place, name, added in zip(
                tokens, wanted.offsets, wanted.tokens, wanted.special_tokens_mask, strict=True):
            assert token["special"] == (added == 1)
            if added:
                assert token["start"] is None and token["stop"] is None
                assert token["text"] == name
            else:
                assert (token["start"], token["stop"]) == place
                assert token["text"] == text[place[0]:place[1]]
        ids.append(wanted.ids)
    bare = server.post("/tokenize", {"inputs": texts, "add_special_tokens": False}).json()
    for text, tokens in zip(texts, bare, strict=True):
        assert [token["id"] for token in tokens] == reference.encode(
            text, add_special_tokens=False).ids
    for skip in [True, False]:
        decoded = server.post("/decode", {"ids": ids, "skip_special_tokens": skip}).json()
        assert decoded == [reference.decode(list_, skip_special_tokens=skip) for list_ in ids]


def test_routes_without_a_body(server):
    info = server.get("/info").json()
    assert info["model_id"] == "tiny" and info["max_input_length"] == 64
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_client_batch_size"] == 2048
    models = server.get("/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["tiny"]
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    for path, operations in document["paths"].items():  # each is there, and none else
        for method in operations:
            body = {} if method == "post" else None
            whole = path.replace("{model}", "tiny")
            assert server.ask(method.upper(), whole, body).status not in (404, 405), path
    for path in ["/livez", "/readyz", "/health", "/ping", "/"]:
        assert server.get(path).status == 200
        head = server.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
    assert int(server.ask("HEAD", "/info").fields["content-length"]) > 100
    for path in ["/rerank", "/predict", "/embed_sparse"]:
        reply = server.post(path, {"inputs": "a"})
        assert (reply.status, reply.json()["error_type"]) == (424, "backend")


def test_metrics_have_teis_names(server):
    before = server.metric('te_request_success{method="batch"}')
    server.vectors(["a", "b"])
    assert server.metric('te_request_success{method="batch"}') == before + 1
    text = server.get("/metrics").body.decode()
    for name in ["te_request_count", "te_request_duration_bucket", "te_request_queue_duration_sum",
                 "te_embed_success", "te_queue_size", "te_request_inference_duration_count"]:
        assert name in text


def test_metrics_of_texts_and_of_batches(server):
    names = ["te_embed_duration", "te_embed_tokenization_duration", "te_embed_queue_duration",
             "te_embed_inference_duration", "te_batch_next_size", "te_batch_next_tokens"]

    def sums():
        return {name: (server.metric(f"{name}_count"), server.metric(f"{name}_sum"))
                for name in names}

    before = sums()
    texts = ["a", "a b c", "a b"]
    reply = server.post("/embed", {"inputs": texts})
    grown = {name: (count - before[name][0], total - before[name][1])
             for name, (count, total) in sums().items()}
    for name in names[:4]:
        assert grown[name][0] == len(texts)
    whole, *parts = [grown[name][1] for name in names[:4]]
    assert whole > 0 and abs(whole - sum(parts)) < 1e-6
    # Each text is in one batch, and padding only adds tokens.
    assert 1 <= grown["te_batch_next_size"][0] <= len(texts)
    assert grown["te_batch_next_size"][1] == len(texts)
    assert grown["te_batch_next_tokens"][1] >= int(reply.fields["x-compute-tokens"])


def test_one_line_of_json_a_request_and_no_text_in_it(server):
    secret = "a secret nobody may log"
    reply = server.post("/embed", {"inputs": [secret]}, [("X-Request-Id", "my-own-id")])
    assert reply.fields["x-request-id"] == "my-own-id"
    command_line.wait_until(lambda: any("my-own-id" in line for line in server.log))
    line = json.loads(next(line for line in server.log if "my-own-id" in line))
    assert (line["status"], line["path"], line["texts"]) == (200, "/embed", 1)
    assert line["tokens"] > 3 and line["bytes_in"] > 0 and line["bytes_out"] > 0
    assert not any("secret" in line for line in server.log)


def test_many_clients_at_once_get_their_own_vectors(server):
    words = ["red", "green", "blue", "cat", "dog", "house", "tree", "river"]
    alone = {word: server.vectors(word)[0] for word in words}
    wrong = []

    def client(word):
        with server.connect() as connection:
            for _ in range(20):
                connection.send(request("POST", "/embed", {"inputs": [word, "some other words"]}))
                got = numpy.float32(connection.read_reply().json()[0])
                if not numpy.allclose(got, alone[word], atol=1e-6):
                    wrong.append(word)

    threads = [threading.Thread(target=client, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_keys_and_origins(tiny, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# of the test\n0123456789abcdef\nfedcba9876543210\n")
    with serving.serving("--api-keys", keys, "--cors-origin", "https://a.example",
                         model=tiny) as server:
        body = {"inputs": "a"}
        reply = server.post("/embed", body)
        assert (reply.status, reply.fields["www-authenticate"]) == (401, "Bearer")
        openai = server.post("/v1/embeddings", {"input": "a"})
        assert openai.json()["error"]["code"] == "invalid_api_key"
        for key in ["0123456789abcdef", "fedcba9876543210"]:
            assert server.post("/embed", body, [("Authorization", f"Bearer {key}")]).status == 200
        assert server.post("/embed", body, [("Authorization", "Bearer 0123456789abcde")]).status == 401
        assert server.get("/metrics").status == 401
        assert server.get("/readyz").status == 200
        asked = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")]
        preflight = server.ask("OPTIONS", "/embed", None, asked)
        assert preflight.status == 204
        assert preflight.fields["access-control-allow-origin"] == "https://a.example"
        other = server.ask("OPTIONS", "/embed", None, [("Origin", "https://b.example"), asked[1]])
        assert "access-control-allow-origin" not in other.fields
        assert server.end() == 0
        assert not any("0123456789abcdef" in line for line in server.log)


def test_a_unix_socket(tiny, tmp_path, expected):
    path = str(tmp_path / "s")
    with serving.serving("--unix-socket", path, model=tiny, port=()) as server:
        assert server.url == "unix:" + path
        same(server.vectors(TEXTS), expected)
        second = command_line.run("serve", "--unix-socket", path, model=tiny)
        command_line.assert_refused(second, 4, "another server listens")
        server.process.kill()  # leaves its file
        server.process.wait()
    assert os.path.exists(path)
    with serving.serving("--unix-socket", path, model=tiny, port=()) as server:
        assert server.get("/livez").status == 200
        assert server.end() == 0
    assert not os.path.exists(path)


def test_what_it_cannot_listen_on(tiny, server, tmp_path):
    port = str(server.address[1])
    command_line.assert_refused(command_line.run("serve", "--port", port, model=tiny), 4, "in use")
    command_line.assert_refused(
        command_line.run("serve", "--host", "no.such.host.invalid", model=tiny), 2, "--host")
    command_line.assert_refused(command_line.run("serve", "--port", "65536", model=tiny), 2, "65535")
    command_line.assert_refused(
        command_line.run("serve", "--request-texts", "5000", model=tiny), 2, "--queue-texts")
    (tmp_path / "keys").write_text("short\n")
    command_line.assert_refused(
        command_line.run("serve", "--api-keys", tmp_path / "keys", model=tiny), 2, "line 1")
    command_line.assert_refused(
        command_line.run("serve", "--unix-socket", tmp_path / "keys", model=tiny), 2, "no socket")


def test_limits_of_a_request(tiny):
    with serving.serving("--request-texts", "4", "--body-bytes", "1000", model=tiny) as server:
        for count, status in [(3, 200), (4, 200), (5, 422)]:
            assert server.post("/embed", {"inputs": ["a"] * count}).status == status
        assert server.post("/v1/embeddings", {"input": ["a"] * 5}).status == 400
        empty = len(json.dumps({"inputs": ""}))
        for size, status in [(999, 200), (1000, 200), (1001, 413)]:
            body = json.dumps({"inputs": "a" * (size - empty)}).encode()
            assert len(body) == size
            assert server.post("/embed", body).status == status
            chunked = request("POST", "/embed", None, [
                ("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")])
            with server.connect() as connection:
                connection.send(chunked + b"%x\r\n" % size + body + b"\r\n0\r\n\r\n")
                assert connection.read_reply().status == status
        assert server.end() == 0


def test_limits_of_connections(tiny):
    with serving.serving("--connections", "3", model=tiny) as server:
        kept = [server.connect() for _ in range(3)]
        for connection in kept:
            connection.send(request("GET", "/livez"))
            assert connection.read_reply().status == 200
        with server.connect() as fourth:
            assert fourth.read_reply().status == 503
        kept.pop().socket.close()

        def has_room():
            with server.connect() as connection:
                connection.send_what_is_taken(request("GET", "/livez"))
                reply = connection.read_reply()
                return reply is not None and reply.status == 200

        command_line.wait_until(has_room)
        for connection in kept:
            connection.socket.close()
        assert server.end() == 0


def test_few_descriptors_are_no_end(tiny):
    def few():
        command_line.restore_interrupt()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with serving.serving(model=tiny, preexec_fn=few) as server:
        connections = [server.connect() for _ in range(80)]
        for connection in connections:
            connection.socket.close()
        command_line.wait_until(lambda: server.metric("textvec_connections") == 1)
        server.vectors("a")
        assert server.end() == 0


LONG = {"inputs": ["word " * 200] * 32}


def serving_minilm(*options, drain="600"):
    """A real model, which takes a while, and time enough on any machine."""
    return serving.serving("--timeout", "600", "--drain-timeout", drain, *options,
                           model=command_line.MINILM)


def test_overload_is_refused_whole_and_at_once():
    with serving_minilm("--queue-texts", "32", "--request-texts", "32") as server:
        with server.connect() as first:
            first.send(request("POST", "/embed", LONG))
            server.wait_for_metric("te_queue_size", lambda value: value == 32)
            for path, body in [("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": ["a", "b"]})]:
                reply = server.post(path, body)
                assert reply.status == 429, reply
                assert int(reply.fields["retry-after"]) >= 1
            assert server.get("/livez").status == 200 and server.get("/readyz").status == 200
            assert len(first.read_reply().json()) == 32
        assert server.post("/embed", {"inputs": "a"}).status == 200
        assert server.metric('te_request_failure{err="overloaded"}') == 2
        assert server.end() == 0


def test_the_work_of_clients_that_left_is_dropped():
    with serving_minilm("--queue-texts", "32", "--request-texts", "32") as server:
        for reset in [False, True]:
            with server.connect() as first:
                first.send(request("POST", "/embed", LONG))
                server.wait_for_metric("te_queue_size", lambda value: value == 32)
                if reset:
                    first.socket.setsockopt(serving.socket.SOL_SOCKET, serving.socket.SO_LINGER,
                                            b"\1\0\0\0\0\0\0\0")
            server.wait_for_metric("te_queue_size", lambda value: value == 0)
        assert server.metric('te_request_failure{err="dropped"}') == 2
        assert server.metric("te_embed_success") == 0
        server.vectors("a")
        assert server.end() == 0


def test_deadlines():
    with serving_minilm("--queue-texts", "32", "--request-texts", "32") as server:
        reply = server.post("/v1/embeddings", {"input": LONG["inputs"]},
                            [("X-Request-Timeout-Ms", "30")])
        assert (reply.status, reply.json()["error"]["code"]) == (504, "timed_out")
        server.wait_for_metric("te_queue_size", lambda value: value == 0)
        assert server.post("/embed", {"inputs": "a"}).status == 200
        assert server.end() == 0


def test_sigterm_waits_for_replies():
    with serving_minilm() as server:
        with server.connect() as busy, server.connect() as idle:
            idle.send(request("GET", "/readyz"))
            assert idle.read_reply().status == 200
            busy.send(request("POST", "/embed", LONG))
            server.wait_for_metric("te_queue_size", lambda value: value == 32)
            server.process.send_signal(signal.SIGTERM)
            # On a connection that is open the end is told, and then it closes.
            command_line.wait_until(lambda: is_draining(idle))
            reply = busy.read_reply()
            assert (reply.status, len(reply.json())) == (200, 32)
            assert reply.fields["connection"] == "close"
            assert busy.is_closed()
        # A second signal would end it at once.
        assert server.process.wait(serving.SECONDS_MAX) == 0


def is_draining(connection):
    connection.send(request("GET", "/readyz"))
    reply = connection.read_reply()
    assert reply is not None
    return reply.fields.get("connection") == "close"


def test_what_takes_too_long_to_drain_is_given_up():
    with serving_minilm(drain="0.05") as server:
        with server.connect() as busy:
            busy.send(request("POST", "/embed", {"inputs": ["word " * 250] * 1000}))
            server.wait_for_metric("te_queue_size", lambda value: value == 1000)
            server.process.send_signal(signal.SIGTERM)
            assert busy.read_reply().status == 503
        assert server.process.wait(serving.SECONDS_MAX) == 5


def test_a_second_signal_ends_it_at_once():
    with serving_minilm() as server:
        with server.connect() as busy:
            busy.send(request("POST", "/embed", {"inputs": ["word " * 250] * 1000}))
            server.wait_for_metric("te_queue_size", lambda value: value == 1000)
            server.process.send_signal(signal.SIGTERM)
            command_line.wait_until(lambda: refuses_connections(server))
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(serving.SECONDS_MAX) == 130


def refuses_connections(server):
    try:
        server.connect().socket.close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_log_that_nobody_reads_stops_nothing(tiny):
    read, write = os.pipe()
    with serving.serving(model=tiny, stderr=write) as server:
        os.close(write)
        for _ in range(3):
            with server.connect() as connection:
                connection.send(request("GET", "/" + "x" * 1900) * 60)
                for _ in range(60):
                    assert connection.read_reply().status == 404
        os.close(read)
        server.vectors("a")
        assert server.process.poll() is None
        assert server.end() == 0
