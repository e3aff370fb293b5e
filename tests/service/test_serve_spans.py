# In: requests with and without a caller's trace. Out: whether a collector gets their spans, and
# whether serving goes on as before when it takes none.
import json
import re
import socket
import time

import pytest

import command_line
import fake_collector
import serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
NO_PROXY = {"http_proxy": None, "HTTP_PROXY": None, "all_proxy": None, "ALL_PROXY": None}


def traceparent(flags="01"):
    return ("traceparent", f"00-{TRACE}-{PARENT}-{flags}")


@pytest.fixture
def collector():
    with fake_collector.Collector() as running:
        yield running


def traced(collector, *options, tiny, env=()):
    return serving.serving("--otlp-endpoint", collector.url, *options, model=tiny,
                           env={**NO_PROXY, **dict(env)})


def trace_ids(server):
    return [json.loads(line).get("trace_id") for line in server.log if line.startswith("{")]


def test_a_request_continues_the_callers_trace(collector, tiny):
    with traced(collector, tiny=tiny) as server:
        before = time.time_ns()
        reply = server.post("/embed", {"inputs": ["a", "b c"]},
                            [traceparent(), ("tracestate", "vendor=1")])
        assert reply.status == 200
        spans = collector.wait_for_spans(4)
        after = time.time_ns()
        assert server.end() == 0
        assert TRACE in trace_ids(server)
    whole, *stages = spans
    assert whole["traceId"] == TRACE and whole["parentSpanId"] == PARENT
    assert whole["kind"] == 2 and whole["name"] == "POST /embed"
    assert whole["traceState"] == "vendor=1" and whole["flags"] & 0x301 == 0x301
    assert "status" not in whole
    wanted = {"http.request.method": "POST", "http.route": "/embed", "url.path": "/embed",
              "http.response.status_code": 200, "url.scheme": "http", "server.address": "textvec",
              "network.protocol.version": "1.1", "client.address": "127.0.0.1",
              "textvec.model": "tiny", "textvec.texts": 2,
              "textvec.tokens": int(reply.fields["x-compute-tokens"]),
              "textvec.request_id": reply.fields["x-request-id"]}
    assert {key: whole["attributes"].get(key) for key in wanted} == wanted

    assert [span["name"] for span in stages] == ["tokenize", "queue", "inference"]
    moments = [before, int(whole["startTimeUnixNano"])]
    for span in stages:
        assert span["traceId"] == TRACE and span["parentSpanId"] == whole["spanId"]
        assert span["kind"] == 1
        moments += [int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])]
    moments += [int(whole["endTimeUnixNano"]), after]
    assert moments == sorted(moments)
    assert len({span["spanId"] for span in spans}) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", span["spanId"]) for span in spans)

    batch = collector.all_batches()[0]
    assert batch.path == "/v1/traces" and batch.headers["Content-Type"] == "application/json"
    resource, = batch.body["resourceSpans"]
    of_server = fake_collector.attributes(resource["resource"]["attributes"])
    assert of_server["service.name"] == "textvec" and of_server["service.version"]


def test_without_a_caller_a_trace_begins(collector, tiny):
    with traced(collector, tiny=tiny) as server:
        server.post("/embed", {"inputs": "a"})
        server.post("/embed", {"inputs": "b"}, [("traceparent", f"00-{'0' * 32}-{PARENT}-01")])
        server.get("/livez")
        collector.wait_for_spans(9)
        assert server.end() == 0
        logged = trace_ids(server)
    spans = [span for span in collector.spans() if span["kind"] == 2]
    assert [span["name"] for span in spans] == ["POST /embed", "POST /embed", "GET /livez"]
    assert not any("parentSpanId" in span for span in spans)
    ids = [span["traceId"] for span in spans]
    assert len(set(ids)) == 3 and all(re.fullmatch("[0-9a-f]{32}", given) for given in ids)
    assert logged == ids


def test_an_unsampled_caller_wants_no_span(collector, tiny):
    with traced(collector, tiny=tiny) as server:
        server.post("/embed", {"inputs": "a"}, [traceparent("00")])
        server.post("/embed", {"inputs": "b"}, [traceparent("01")])
        collector.wait_for_spans(4)
        assert server.metric("textvec_spans_waiting") >= 0
        assert server.end() == 0
        assert trace_ids(server)[:2] == [TRACE, TRACE]
    posts = [span for span in collector.spans() if span["name"] == "POST /embed"]
    assert len(posts) == 1


def test_failures_say_so(collector, tiny):
    with traced(collector, tiny=tiny) as server:
        assert server.post("/rerank", {"query": "a", "texts": ["b"]}).status == 424
        assert server.post("/embed", {"inputs": ""}).status == 400
        assert server.get("/nowhere/secret?key=secret-too").status == 404
        with server.connect() as connection:
            connection.send(b"BREW /embed HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")
            assert connection.read_reply().status == 405
        with server.connect() as connection:
            connection.send(b"no head at all\r\n\r\n")
            assert connection.read_reply().status == 400
        collector.wait_for_spans(5)
        assert server.end() == 0
    ours, empty, nowhere, brew, damaged = collector.spans()
    assert ours["status"] == {"code": 2} and ours["attributes"]["error.type"] == "424"
    for span, status in [(empty, 400), (nowhere, 404), (brew, 405), (damaged, 400)]:
        assert span["attributes"]["http.response.status_code"] == status
        assert "status" not in span and "error.type" not in span["attributes"]
    assert nowhere["name"] == "GET" and "http.route" not in nowhere["attributes"]
    assert brew["name"] == "HTTP" and brew["attributes"]["http.request.method"] == "_OTHER"
    assert brew["attributes"]["http.request.method_original"] == "BREW"
    assert brew["attributes"]["server.address"] == "::1"
    assert brew["attributes"]["server.port"] == 80
    assert "secret-too" not in json.dumps([batch.body for batch in collector.all_batches()])


def test_the_environment_names_collector_and_service(collector, tiny):
    for env, path in [({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/base/"},
                       "/base/v1/traces"),
                      ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url + "/as/it/stands"},
                       "/as/it/stands")]:
        taken = len(collector.all_batches())
        with serving.serving(model=tiny, env={**NO_PROXY, "OTEL_SERVICE_NAME": "of the environment",
                                              **env}) as server:
            server.get("/livez")
            assert server.end() == 0
        batch = collector.all_batches()[taken]
        assert batch.path == path
        resource = batch.body["resourceSpans"][0]["resource"]
        names = fake_collector.attributes(resource["attributes"])
        assert names["service.name"] == "of the environment"
    with traced(collector, "--otlp-service-name", "of the option", tiny=tiny,
                env={"OTEL_SERVICE_NAME": "of the environment",
                     "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}) as server:
        server.get("/livez")
        assert server.end() == 0
    resource = collector.all_batches()[-1].body["resourceSpans"][0]["resource"]
    assert fake_collector.attributes(resource["attributes"])["service.name"] == "of the option"


def test_what_is_no_url_is_an_error(tiny):
    for url in ["localhost:4318", "file:///etc/passwd", "http://user:secret@localhost"]:
        answer = command_line.run("serve", "--port", "0", "--otlp-endpoint", url, model=tiny)
        assert answer.code == 2 and "--otlp-endpoint" in answer.err
        assert "secret" not in answer.err


def test_without_a_collector_there_are_no_spans_and_no_metrics_of_them(server):
    server.post("/embed", {"inputs": "a"}, [traceparent()])
    assert "textvec_spans" not in server.get("/metrics").body.decode()
    command_line.wait_until(lambda: TRACE in trace_ids(server))


def test_a_later_answer_takes_what_an_earlier_refused(tiny):
    with fake_collector.Collector(503, 200) as collector, traced(collector, tiny=tiny) as server:
        server.get("/livez")
        assert len(collector.wait_for_spans(1)) == 1
        first, second = collector.all_batches()[:2]
        assert (first.status, second.status) == (503, 200) and first.body == second.body
        server.wait_for_metric("textvec_spans_sent_total", lambda value: value >= 1)
        assert server.metric('textvec_spans_dropped_total{why="not_taken"}') == 0
        assert server.end() == 0


def test_what_a_collector_refuses_is_not_sent_again(tiny):
    with fake_collector.Collector(400, 302, 200) as collector, \
            traced(collector, tiny=tiny) as server:
        for count in [1, 2, 3]:
            server.get("/livez")
            command_line.wait_until(lambda least=count: len(collector.all_batches()) >= least)
        assert [batch.status for batch in collector.all_batches()] == [400, 302, 200]
        assert len(collector.spans()) == 1
        assert server.metric('textvec_spans_dropped_total{why="not_taken"}') == 2
        assert server.end() == 0
        complaints = [line for line in server.log if "not taken" in line]
        assert len(complaints) == 1 and "answers 400" in complaints[0]


def assert_serves_as_before(server):
    server.assert_unharmed()
    for _ in range(20):
        server.assert_unharmed()


def test_a_collector_that_is_down_stops_nothing(tiny):
    with socket.socket() as nobody:  # bound, and never listening
        nobody.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % nobody.getsockname()[1]
        with serving.serving("--otlp-endpoint", url, model=tiny, env=NO_PROXY) as server:
            assert_serves_as_before(server)
            command_line.wait_until(lambda: any("not taken" in line for line in server.log))
            assert_serves_as_before(server)
            assert server.end() == 0
            assert len([line for line in server.log if "not taken" in line]) == 1


@pytest.mark.parametrize("how", ["silent", "endless", "endless_head"])
def test_a_collector_that_never_ends_stops_nothing(how, tiny):
    with fake_collector.Collector() as collector:
        collector.answers = [getattr(collector, how)]
        with traced(collector, tiny=tiny) as server:
            server.get("/livez")
            command_line.wait_until(collector.all_batches)
            assert_serves_as_before(server)
            assert server.end() == 0  # although the collector still says nothing, or too much
            assert len([line for line in server.log if "not taken" in line]) <= 1


def test_sigterm_sends_what_waits(collector, tiny):
    with traced(collector, tiny=tiny) as server:
        for _ in range(50):
            server.get("/livez")
        assert server.end() == 0
    assert len([span for span in collector.spans() if span["name"] == "GET /livez"]) == 50
