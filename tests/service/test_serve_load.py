# In: far more requests than the server takes, and its end in the middle of them. Out: whether every one
# of them is answered, with its vectors or with 429, and whether the server is as before afterwards. No
# timing: figures are bench/serve_load.py's.
import resource
import signal
import threading

import numpy
import pytest

import command_line
import serving
from serving import request

CLIENTS = 48
REQUESTS = 40
TEXTS = [f"text number {i} of a request" for i in range(16)]
# Two requests fill it.
SMALL = ("--queue-texts", "32", "--request-texts", "32")


def in_threads(count, function):
    threads = [threading.Thread(target=function, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize(("path", "name"), [("/embed", "inputs"), ("/v1/embeddings", "input")])
def test_overload_is_answered_or_refused_and_then_over(tiny, path, name):
    with serving.serving(*SMALL, model=tiny) as server:
        assert server.golden
        wanted = server.vectors(TEXTS)
        statuses, wrong = [], []
        data = request("POST", path, {name: TEXTS})

        def client(_):
            with server.connect() as connection:
                for _ in range(REQUESTS):
                    connection.send(data)
                    reply = connection.read_reply()
                    if reply is None:
                        return wrong.append("no reply")
                    statuses.append(reply.status)
                    if reply.status == 429:
                        if not int(reply.fields.get("retry-after", 0)) >= 1:
                            wrong.append(reply)
                    elif reply.status == 200:
                        rows = reply.json()
                        if name == "input":
                            rows = [item["embedding"] for item in rows["data"]]
                        if not numpy.allclose(rows, wanted, atol=1e-6):
                            wrong.append("other vectors")
                    else:
                        wrong.append(reply)

        for thread in in_threads(CLIENTS, client):
            thread.join()
        assert not wrong, wrong[:3]
        assert len(statuses) == CLIENTS * REQUESTS
        assert statuses.count(200) > 0 and statuses.count(429) > 0
        assert server.metric('te_request_failure{err="overloaded"}') == statuses.count(429)
        # Nothing is left of it: the whole queue is free again.
        server.wait_for_metric("textvec_requests_in_flight", lambda value: value == 0)
        for measure in ["te_queue_size", "textvec_bytes_in_flight"]:
            assert server.metric(measure) == 0
        assert server.post("/embed", {"inputs": TEXTS * 2}).status == 200
        server.assert_unharmed()
        assert server.end() == 0


@pytest.mark.parametrize("head_start", [0, 20, 200])
def test_sigterm_under_load_loses_no_reply(tiny, head_start):
    """Each client asks as fast as it is answered; the signal comes after so many replies."""
    with serving.serving(model=tiny) as server:
        lost, codes, replies = [], [], threading.Semaphore(0)
        data = request("POST", "/embed", {"inputs": TEXTS})

        def client(number):
            with server.connect() as connection:
                while True:
                    connection.send(data)
                    reply = connection.read_reply()
                    if reply is None:
                        return lost.append(number)
                    codes.append(reply.status)
                    replies.release()
                    if reply.fields.get("connection") == "close":
                        return None

        threads = in_threads(16, client)
        for _ in range(head_start):
            assert replies.acquire(timeout=command_line.SECONDS_MAX)
        # All are there: who comes when nobody is accepted any more is not lost.
        server.wait_for_metric("textvec_connections", lambda value: value == 17)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert not lost
        assert set(codes) == {200}
        assert server.process.wait(serving.SECONDS_MAX) == 0


@pytest.fixture
def many_descriptors():
    """For this process and the server, which inherits it: shells often begin with 1,024."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if resource.RLIM_INFINITY != most < wanted:
        pytest.skip(f"the system gives a process {most} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(usual, wanted), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


def test_a_thousand_idle_connections_keep_nobody_from_being_served(tiny, many_descriptors):
    with serving.serving(model=tiny) as server:
        idle = [server.connect() for _ in range(1000)]
        server.wait_for_metric("textvec_connections", lambda value: value == 1001)
        wrong = []

        def client(number):
            with server.connect() as connection:
                for i in range(4):
                    connection.send(request("POST", "/embed", {"inputs": f"{number} {i}"}))
                    reply = connection.read_reply()
                    if reply is None or reply.status != 200:
                        wrong.append(reply)

        for thread in in_threads(64, client):
            thread.join()
        assert not wrong, wrong[:3]
        for connection in idle:  # and they are served when they wake
            connection.send(request("GET", "/livez"))
        assert all(connection.read_reply().status == 200 for connection in idle)
        for connection in idle:
            connection.socket.close()
        server.wait_for_metric("textvec_connections", lambda value: value == 1)
        server.assert_unharmed()
        assert server.end() == 0
