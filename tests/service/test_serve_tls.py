# In: certificates of the test's own. Out: whether `textvec serve` speaks TLS, only what is sound of
# it, and keeps its limits under it.
import os
import signal
import ssl
import subprocess
import threading
import time
import warnings

import numpy
import pytest

import command_line
import serving
from serving import request

TEXTS = ["hello", "a cat sat on the mat"]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Identity:
    """A self-signed certificate of localhost, and its key."""

    def __init__(self, folder):
        folder.mkdir()
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2", "-keyout", self.key,
                "-out", self.certificate)
        self.key.chmod(0o600)

    def set_years(self, begin, end):
        """Signs the key's certificate anew, valid from one year's first day to another's."""
        folder = self.key.parent
        (folder / "index").write_text("")
        (folder / "config").write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index\nnew_certs_dir={folder}\n"
            "rand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")
        openssl("req", "-new", "-key", self.key, "-subj", "/CN=localhost", "-out", folder / "request")
        openssl("ca", "-batch", "-selfsign", "-config", folder / "config", "-keyfile", self.key,
                "-in", folder / "request", "-notext", "-out", self.certificate,
                "-startdate", f"{begin}0101000000Z", "-enddate", f"{end}0101000000Z")

    def options(self):
        return ["--tls-certificate", self.certificate, "--tls-key", self.key]

    def client(self, **versions):
        context = ssl.create_default_context(cafile=str(self.certificate))
        for name, version in versions.items():
            setattr(context, name, version)
        return context


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Identity(tmp_path_factory.mktemp("tls") / "first")


@pytest.fixture(scope="module")
def server(tiny, identity):
    with serving.serving(*identity.options(), "--head-timeout", "2", "--idle-timeout", "5",
                         "--body-bytes", "200000", model=tiny, tls=identity.client()) as server:
        yield server
        assert server.end() == 0


def test_vectors_are_the_command_lines(server, tiny):
    right = command_line.run("embed", *TEXTS, model=tiny).vectors()
    numpy.testing.assert_allclose(server.vectors(TEXTS), right, atol=1e-6)
    with server.connect() as connection:
        for _ in range(3):
            connection.send(request("POST", "/embed", {"inputs": TEXTS}) * 2)
            for _ in range(2):
                numpy.testing.assert_allclose(connection.read_reply().json(), right, atol=1e-6)
    # Many records each way.
    long = {"inputs": ["word " * 100] * 300}
    assert len(server.post("/embed", long).json()) == 300
    with server.connect() as connection:  # is told so although it sends on
        connection.send_what_is_taken(request("POST", "/embed", {"inputs": "a" * 1_000_000}))
        assert connection.read_reply().status == 413
    assert not any("warning" in line for line in server.log)


def test_openais_client(server, identity):
    import openai

    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0,
                       http_client=openai.DefaultHttpxClient(verify=identity.client())) as client:
        assert len(client.embeddings.create(model="tiny", input=TEXTS).data) == 2


def test_versions_and_protocols(server, identity):
    for version, cipher in [(ssl.TLSVersion.TLSv1_2, "ECDHE"), (ssl.TLSVersion.TLSv1_3, "TLS_")]:
        context = identity.client(minimum_version=version, maximum_version=version)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with serving.Connection(server.address, context) as connection:
            assert connection.socket.selected_alpn_protocol() == "http/1.1"
            assert connection.socket.cipher()[0].startswith(cipher)
            connection.send(request("GET", "/livez"))
            assert connection.read_reply().status == 200
    old = identity.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = identity.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0")
    other = identity.client()
    other.set_alpn_protocols(["h2"])
    for context in [old, weak, other]:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            serving.Connection(server.address, context)
    assert server.get("/livez").status == 200


def test_the_end_of_a_connection_is_said(server):
    """Without close_notify a client could not tell an end from a cut."""
    with server.connect() as connection:
        connection.socket.suppress_ragged_eofs = False
        connection.send(request("GET", "/livez", None, [("Connection", "close")]))
        assert connection.read_reply().status == 200
        assert connection.socket.recv(10) == b""


def test_what_is_no_handshake(server):
    with serving.Connection(server.address) as plain:
        plain.send(request("GET", "/livez"))
        reply = plain.read_reply()
        assert reply.status == 400 and plain.is_closed()
    for data in [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 600, b"\0" * 100, b"PRI * "]:
        with serving.Connection(server.address) as bad:
            bad.send_what_is_taken(data)
            while bad._more():
                pass
            assert not bad.received.startswith(b"HTTP/1.1 200")
    # Silence, and half a handshake: the head's time is the handshake's.
    for data in [b"", b"\x16\x03\x01\x02\x00\x01"]:
        with serving.Connection(server.address) as slow:
            begin = time.monotonic()
            slow.send(data)
            assert slow.is_closed()
            assert 1.5 < time.monotonic() - begin < 30
    assert server.get("/livez").status == 200
    command_line.wait_until(lambda: server.metric("textvec_connections") == 1)


def test_the_same_limits_hold(server, tiny, identity):
    with server.connect() as slow:  # a head that does not end
        slow.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
        assert slow.read_reply().status == 408
    with server.connect() as leaver:
        leaver.send(request("POST", "/embed", {"inputs": TEXTS})[:-4])
    with serving.serving(*identity.options(), "--connections", "2", model=tiny,
                         tls=identity.client()) as small:
        kept = [small.connect() for _ in range(2)]
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            small.connect()
        for connection in kept:
            connection.send(request("GET", "/livez"))
            assert connection.read_reply().status == 200
            connection.socket.close()
        assert small.end() == 0


def test_sigterm_waits_for_replies_and_not_for_handshakes(identity):
    body = {"inputs": ["word " * 200] * 32}
    with serving.serving(*identity.options(), "--timeout", "600", "--drain-timeout", "600",
                         model=command_line.MINILM, tls=identity.client()) as server:
        with server.connect() as busy, serving.Connection(server.address) as silent:
            busy.send(request("POST", "/embed", body))
            server.wait_for_metric("te_queue_size", lambda value: value == 32)
            server.process.send_signal(signal.SIGTERM)
            assert len(busy.read_reply().json()) == 32
            assert busy.is_closed() and silent.is_closed()
        assert server.process.wait(serving.SECONDS_MAX) == 0


def test_a_new_certificate_is_taken_under_load(tiny, tmp_path):
    first, second = Identity(tmp_path / "a"), Identity(tmp_path / "b")
    used = Identity(tmp_path / "used")

    def use(identity):
        for mine, its in [(used.certificate, identity.certificate), (used.key, identity.key)]:
            os.replace(its, mine)

    clients = [first.client(), second.client()]
    kept = {name: getattr(second, name).read_bytes() for name in ["certificate", "key"]}
    use(first)
    wrong, over = [], threading.Event()
    with serving.serving(*used.options(), model=tiny, tls=clients[0]) as server:

        def client():
            with serving.Connection(server.address, clients[0]) as connection:
                while not over.is_set():
                    connection.send(request("POST", "/embed", {"inputs": TEXTS}))
                    reply = connection.read_reply()
                    if reply is None or reply.status != 200:
                        wrong.append(reply)
                        return

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            used.certificate.write_bytes(kept["certificate"])  # without its key
            reply = server.post("/admin/reload", {})
            assert reply.status == 500 and reply.json()["reloaded"] == ["tiny"]
            assert "not the key" in reply.json()["failed"][0]["error"]
            use(second)
            assert server.post("/admin/reload", {}).json()["reloaded"] == ["the certificate", "tiny"]
            with pytest.raises(ssl.SSLCertVerificationError):
                server.connect()
            server.tls = clients[1]
            assert server.get("/livez").status == 200
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not wrong
        assert server.end() == 0


def test_what_cannot_be_used(tiny, identity, tmp_path):
    other = Identity(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    openssl("pkey", "-in", other.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    nothing, large = tmp_path / "nothing.pem", tmp_path / "large.pem"
    nothing.write_text("nothing\n")
    cut = tmp_path / "cut.pem"
    cut.write_text(other.certificate.read_text()[:200])
    many = tmp_path / "many.pem"

    def serve(certificate, key):
        return command_line.run("serve", "--port", "0", "--tls-certificate", certificate,
                                "--tls-key", key, model=tiny)

    def refused(certificate, key, *words):
        command_line.assert_refused(serve(certificate, key), 2, *words)

    refused(tmp_path / "none", other.key, "none cannot be opened")
    refused(other.certificate, tmp_path / "none", "none cannot be opened")
    refused(other.certificate, identity.key, "is not the key of the certificate")
    refused(nothing, other.key, "is no certificate in PEM")
    refused(cut, other.key, "is no certificate in PEM, or a damaged one")
    refused(other.certificate, nothing, "is no private key in PEM")
    refused(other.certificate, locked, "has a passphrase")
    large.write_text("#" * (1 << 20) + "#")
    refused(large, other.key, "has more than 1048576 bytes")
    many.write_text(other.certificate.read_text() * 17)
    refused(many, other.key, "has more than 16 certificates")
    for alone in [["--tls-key", other.key], ["--tls-certificate", other.certificate]]:
        answer = command_line.run("serve", "--port", "0", *alone, model=tiny)
        command_line.assert_refused(answer, 2, "go together")
    answer = command_line.run("serve", "--unix-socket", tmp_path / "s", *other.options(), model=tiny)
    command_line.assert_refused(answer, 2, "--unix-socket")
    # As many certificates and bytes as the limits say.
    many.write_text(other.certificate.read_text() * 16)
    padding = (1 << 20) - many.stat().st_size
    many.write_text("#" * (padding - 1) + "\n" + many.read_text())
    assert many.stat().st_size == 1 << 20
    with serving.serving("--tls-certificate", many, "--tls-key", other.key, model=tiny,
                         tls=other.client()) as server:
        assert server.get("/livez").status == 200
        assert server.end() == 0


def test_warnings(tiny, tmp_path):
    identity = Identity(tmp_path / "odd")
    for years, mode, words in [((2020, 2021), 0o600, "has expired"),
                               ((2090, 2091), 0o600, "is not valid yet"),
                               ((2020, 2091), 0o640, "may read or write the key"),
                               ((2020, 2091), 0o602, "may read or write the key"),
                               ((2020, 2091), 0o600, None)]:
        identity.set_years(*years)
        identity.key.chmod(mode)
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with serving.serving(*identity.options(), model=tiny, tls=trusting) as server:
            assert server.get("/livez").status == 200
            assert server.end() == 0
        said = [line for line in server.log if "warning" in line]
        assert len(said) == (words is not None)
        assert words is None or words in said[0]
