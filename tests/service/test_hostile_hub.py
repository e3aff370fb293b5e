# In: a hub that misbehaves, by accident or on purpose. Out: what is asked again, what is refused, and
# that nothing wrong, and nothing outside the cache, is ever left behind.
import hashlib
import json
import shutil
import subprocess
import threading
import time

import pytest
from command_line import BINARY, Answer, assert_refused, environment
from fake_hub import BLOCK, FakeHub
from pulling import NAME, assert_whole, folder_files, repository

PIECE_BYTES = 16 << 20
SIZE = PIECE_BYTES + 200_000  # two ranges


@pytest.fixture(scope="module")
def large():
    return repository(SIZE)


@pytest.fixture(scope="module")
def small():
    return repository(300_000)


def sha256(files):
    return hashlib.sha256(files["model.safetensors"]).hexdigest()


def assert_nothing_wrong_is_left(place, files):
    """No model by that name, and of its weights at most a part."""
    assert not (place.repository() / "refs" / "main").exists()
    assert not (place.repository() / "blobs" / sha256(files)).exists()


# --- What fails for a while


def close_early(after):
    """Says the whole length and goes away after some bytes of it."""

    def wrong(handler, _):
        file = next(file for repo in handler.server.hub.repositories.values()
                    for file in repo.files.values() if file.large)
        asked = handler.range_of(len(file.data)) or (0, len(file.data))
        handler.send_response(206 if "range" in handler.request_record.headers else 200)
        handler.send_header("Content-Length", str(asked[1] - asked[0]))
        if "range" in handler.request_record.headers:
            handler.send_header("Content-Range", f"bytes {asked[0]}-{asked[1] - 1}/{len(file.data)}")
        handler.end_headers()
        handler.send_body(memoryview(file.data)[asked[0]:min(asked[0] + after, asked[1])])
        handler.close_connection = True

    return wrong


def status(code, headers=None):
    return lambda handler, _: handler.send(code, b"not now", headers)


def hang_up(handler, _):
    handler.close_connection = True
    handler.connection.close()


PASSING = {
    "500 three times": (status(500), 3),
    "503": (status(503), 1),
    "429": (status(429), 2),
    "408": (status(408), 1),
    "no answer": (hang_up, 2),
    "short": (close_early(70_000), 3),
    "empty": (close_early(0), 2),
    "an expired link": (status(403), 1),
    "a link to nothing": (status(404), 1),
}


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize("size", ["small", "large"])
def test_what_fails_for_a_while_is_asked_again(place, hub, request, size, name):
    files = request.getfixturevalue(size)
    commit = hub.add(NAME, files)
    wrong, times = PASSING[name]
    with hub.misbehaving(wrong, times=times, server="cdn"):
        answer = place.pull()
    assert answer.code == 0, answer.err
    assert "trying again" in answer.err
    assert_whole(place, commit, files)


def test_what_came_before_it_broke_is_not_asked_again(place, hub, small):
    hub.add(NAME, small)
    with hub.misbehaving(close_early(250_000), times=1, server="cdn"):
        assert place.pull().code == 0
    ranges = [request.headers.get("range") for request in hub.requests if request.server == "cdn"]
    assert ranges == [None, "bytes=250000-299999"]


@pytest.mark.parametrize("path", ["/api/", "/resolve/"])
def test_the_hub_itself_may_be_busy(place, hub, small, path):
    commit = hub.add(NAME, small)
    for wrong in (status(500), status(429), hang_up):
        with hub.misbehaving(wrong, times=2, server="hub", path=path):
            answer = place.pull(NAME, "--dry-run")
            assert answer.code == 0, answer.err
    with hub.misbehaving(status(503), times=2, server="hub", path=path):
        assert place.pull().code == 0
    assert_whole(place, commit, small)


def test_retry_after_is_waited_for(place, hub, small):
    hub.add(NAME, small)
    begun = time.monotonic()
    with hub.misbehaving(status(429, {"Retry-After": "2"}), times=1, server="cdn"):
        assert place.pull().code == 0
    assert time.monotonic() - begun >= 2
    with hub.misbehaving(status(429, {"Retry-After": "301"}), server="hub", path="/api/"):
        begun = time.monotonic()
        assert_refused(place.pull(), 5, "429", "301 s of patience", "limit is 300")
        assert time.monotonic() - begun < 2


def test_a_hub_that_stays_down_is_given_up(place, hub, small):
    hub.add(NAME, small)
    with hub.misbehaving(status(500), server="hub"):
        hub.forget()
        assert_refused(place.pull(), 5, "answers 500", "6 times in a row")
    assert len(hub.requests) == 6
    times = [place.pull(env={"HF_ENDPOINT": "http://127.0.0.1:9"})]
    assert_refused(times[0], 5, "127.0.0.1", "3 times in a row")


def test_a_stop_ends_the_waiting(place, hub, small):
    hub.add(NAME, small)
    with hub.misbehaving(status(429, {"Retry-After": "100"}), server="cdn"):
        process = place.start("pull", NAME)
        threading.Timer(0.7, process.terminate).start()
        begun = time.monotonic()
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - begun < 10


# --- Ranges


def whole_to_a_range(handler, request):
    """A server that does not know ranges."""
    if "range" not in request.headers:
        return False
    del handler.headers["Range"]
    return False


def test_a_whole_file_in_answer_to_a_range(place, hub, large):
    commit = hub.add(NAME, large)
    with hub.misbehaving(whole_to_a_range, server="cdn"):
        answer = place.pull()
    assert answer.code == 0, answer.err
    assert "sends whole files only" in answer.err
    assert_whole(place, commit, large)


def test_a_resumed_file_of_a_server_without_ranges_begins_anew(place, hub, small):
    commit = hub.add(NAME, small)
    with hub.misbehaving(whole_to_a_range, server="cdn"):
        with hub.misbehaving(close_early(200_000), times=1, server="cdn"):
            answer = place.pull()
    assert answer.code == 0, answer.err
    assert_whole(place, commit, small)


def test_a_range_that_cannot_be_begins_anew(place, hub, large):
    commit = hub.add(NAME, large)
    with hub.misbehaving(status(416), times=1, server="cdn"):
        answer = place.pull()
    assert answer.code == 0, answer.err
    assert "416" in answer.err
    assert_whole(place, commit, large)


@pytest.mark.parametrize("claimed", [
    "bytes 5-{last}/{size}", "bytes {begin}-{last}/7", "bytes {begin}-{size}/{size}", "bytes",
    "items {begin}-{last}/{size}", "bytes -1-{last}/{size}", "bytes 18446744073709551616-1/{size}",
    None])
def test_another_range_than_asked_for_is_not_taken(place, hub, large, claimed):
    commit = hub.add(NAME, large)

    def wrong(handler, request):
        if request.headers.get("range") != f"bytes={PIECE_BYTES}-{SIZE - 1}":
            return False
        handler.send(206, b"x" * (SIZE - PIECE_BYTES), claimed and {"Content-Range": claimed.format(
            begin=PIECE_BYTES, last=SIZE - 1, size=SIZE)})

    with hub.misbehaving(wrong, times=1, server="cdn"):
        answer = place.pull()
    assert answer.code == 0, answer.err
    assert_whole(place, commit, large)


# --- Wrong bytes


def test_wrong_bytes_are_thrown_away_and_asked_again_once(place, hub, small):
    commit = hub.add(NAME, small)

    def wrong(handler, _):
        handler.send(200, b"y" * 300_000)

    with hub.misbehaving(wrong, times=1, server="cdn"):
        answer = place.pull()
    assert answer.code == 0 and "another hash" in answer.err
    assert_whole(place, commit, small)


def test_wrong_bytes_twice_are_an_error(place, hub, small):
    hub.add(NAME, small)
    with hub.misbehaving(lambda handler, _: handler.send(200, b"y" * 300_000), server="cdn"):
        answer = place.pull()
    assert_refused(answer, 3, "model.safetensors", "another hash than", sha256(small), "twice")
    assert_nothing_wrong_is_left(place, small)
    assert not [blob for blob in place.blobs() if sha256(small) in blob.name]


def test_a_small_file_is_checked_too(place, hub, small):
    hub.add(NAME, small)
    with hub.misbehaving(lambda handler, _: handler.send(200, b"[]"), server="hub",
                         path="tokenizer.json"):
        assert_refused(place.pull(), 3, "tokenizer.json", "another hash", "twice")
    assert_nothing_wrong_is_left(place, small)


def endless(chunked):
    """Blocks without an end, until the client goes away."""

    def wrong(handler, _):
        handler.send_response(200)
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        handler.end_headers()
        handler.close_connection = True
        block = b"z" * BLOCK
        for _ in range(100_000):
            handler.wfile.write(b"%x\r\n%s\r\n" % (BLOCK, block) if chunked else block)

    return wrong


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_long_is_cut_off(place, hub, small, chunked):
    commit = hub.add(NAME, small)
    with hub.misbehaving(endless(chunked), times=2, server="cdn"):
        answer = place.pull()
    # What came before the end was wrong: its hash says so.
    assert answer.code == 0, answer.err
    assert "more than the 300000 bytes" in answer.err
    assert_whole(place, commit, small)


@pytest.mark.parametrize("chunked", [True, False])
def test_an_endless_list_is_refused(place, hub, small, chunked):
    hub.add(NAME, small)
    with hub.misbehaving(endless(chunked), server="hub", path="/api/"):
        assert_refused(place.pull(), 3, "larger than 33554432 bytes")


def test_an_endless_error_page_is_left(place, hub, small):
    hub.add(NAME, small)

    def wrong(handler, _):
        handler.send_response(404)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(100_000):
            handler.wfile.write(b"z" * BLOCK)

    with hub.misbehaving(wrong, server="hub", path="/api/"):
        assert_refused(place.pull(), 3, "answers 404")


def test_endless_headers_are_refused(place, hub, small):
    hub.add(NAME, small)

    def wrong(handler, _):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        handler.close_connection = True
        for _ in range(100_000):
            handler.wfile.write(b"X-More: " + b"h" * 1000 + b"\r\n")

    with hub.misbehaving(wrong, server="hub", path="/api/"):
        answer = place.pull()
        assert answer.code in (3, 5) and answer.out == b"", answer.err


# --- Redirects


def redirect(to, code=302):
    return lambda handler, _: handler.send(code, b"over there", {"Location": to})


REFUSED = {
    "file:///etc/passwd": "no address of the web",
    "file://localhost/etc/passwd": "no address of the web",
    "ftp://example.com/x": "only https",
    "gopher://example.com/x": "only https",
    "scp://example.com/x": "only https",
    "http://example.com/x": "only https",
    "http://10.0.0.1/x": "only https",
    "https://10.0.0.1/x": "address of a private network",
    "https://192.168.1.1/x": "address of a private network",
    "https://172.16.0.1:8443/x": "address of a private network",
    "https://[fd00::1]/x": "address of a private network",
    "https://169.254.169.254/latest/meta-data/": "no public address",
    "http://169.254.169.254/latest/meta-data/": "only https",
    "https://[::ffff:169.254.169.254]/": "no public address",
    "https://[fe80::1]/": "no public address",
    "https://0.0.0.0/": "no public address",
    "https://0x0a000001/": "address of a private network",
    "https://167772161/": "address of a private network",
    "https://10.1/": "address of a private network",
    "https://user:secret@example.com/": "no address of the web",
    "https://": "no address of the web",
    "https://a b/": "no address of the web",
    "//10.0.0.1/x": "only https",
}


@pytest.mark.parametrize("to", REFUSED)
@pytest.mark.parametrize("path", ["/api/", "model.safetensors"])
def test_a_redirect_that_leads_astray_is_not_followed(place, hub, small, path, to):
    hub.add(NAME, small)
    with hub.misbehaving(redirect(to), server="hub", path=path):
        assert_refused(place.pull(), 3, REFUSED[to])
    assert_nothing_wrong_is_left(place, small)


def pull_with_hosts(place, lines, **env):
    """In a mount namespace whose /etc/hosts is ours."""
    hosts = place.folder / "hosts"
    hosts.write_text(lines)
    script = 'mount --bind "$1" /etc/hosts && exec "$2" pull owner/model'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(hosts), BINARY]
    if shutil.which("unshare") is None or subprocess.run(
            [*command[:5], "sh", str(hosts), "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("only who may mount has hosts of their own")
    answer = subprocess.run(command, env=environment({**place.env, **env}), capture_output=True,
                            check=False, timeout=120)
    return Answer(answer.returncode, answer.stdout, answer.stderr.decode())


def test_an_address_behind_a_name_is_looked_at(place, hub, small):
    """Public by its name: only the connection tells."""
    hub.add(NAME, small)
    hosts = "127.0.0.1 localhost\n10.0.0.1 a.example\n169.254.169.254 b.example\n127.0.0.1 huggingface.co\n"
    for name, words in [("a.example", "address of a private network"), ("b.example", "no public address")]:
        with hub.misbehaving(redirect(f"https://{name}/x"), server="hub", path="/api/"):
            assert_refused(pull_with_hosts(place, hosts), 3, name, words)
    # Nobody named the usual hub by HF_ENDPOINT, so that it cannot be on this machine.
    assert_refused(pull_with_hosts(place, hosts, HF_ENDPOINT=None), 3,
                   "huggingface.co is this machine's own address")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_renamed_model_is_followed_on_the_same_host(place, hub, small, code):
    hub.add("owner/renamed", small)

    def wrong(handler, request):
        return redirect(request.path.replace("owner/model", "owner/renamed"), code)(handler, request)

    with hub.misbehaving(wrong, server="hub", path="owner/model"):
        answer = place.pull(env={"HF_TOKEN": "hf_secret"})
    assert answer.code == 0, answer.err
    assert_whole(place, hub.repositories["owner/renamed"].revisions["main"], small)


def test_redirects_end(place, hub, small):
    hub.add(NAME, small)
    for path in ["/api/", "model.safetensors"]:
        hub.forget()
        with hub.misbehaving(lambda handler, request: redirect(request.path)(handler, request),
                             server="hub", path=path):
            assert_refused(place.pull(), 3, "more than 5 times")
        assert len([request for request in hub.requests if path in request.path]) == 6
    with hub.misbehaving(lambda handler, _: handler.send(302, b""), server="hub", path="/api/"):
        assert_refused(place.pull(), 3, "redirects nowhere")


def test_the_token_stays_on_the_hubs_own_port(place, hub, small):
    """Same host, another port: another server."""
    with FakeHub(cdn_host="127.0.0.1") as beside:
        commit = beside.add(NAME, small, token="hf_secret")
        answer = place.pull(env={"HF_ENDPOINT": beside.url, "HF_TOKEN": "hf_secret"})
        assert answer.code == 0, answer.err
        assert_whole(place, commit, small)
        cdn = [request for request in beside.requests if request.server == "cdn"]
        assert cdn and all("authorization" not in request.headers for request in cdn)


# --- Names and lists


@pytest.mark.parametrize("name", [
    "../x", "a/../x", "/x", "//host/x", "C:\\x", "C:/x", "c:x", "\\\\host\\x", "con", "NUL.bin", "a/aux",
    "com1/x", ".", "..", "a/b/c", "a b", "a\nb", "a%2f..", "a?b", "a#b", "a@../b", "a@/b", "a@b@c",
    "https://example.com/a", "file:///etc", "a--b", "pypi:../x", "pypi:-rfile", "pypi:a @ file:///x",
    "x" * 4096, "\udcff"])
def test_a_bad_name_asks_nobody(place, hub, name):
    hub.add(NAME, repository(300_000))
    assert_refused(place.pull(name), 2, "is no model's name")
    assert hub.requests == []


@pytest.mark.parametrize("command", ["verify-files", "remove"])
def test_a_bad_name_leads_nowhere(place, command):
    (place.folder / "textvec/models").mkdir(parents=True)
    (place.folder / "textvec/victim").write_text("precious")
    for name in ["../victim", "..", ".", str(place.folder / "textvec"), "../models/../"]:
        assert_refused(place.run(command, name), 2, "is no model's name")
    assert (place.folder / "textvec/victim").read_text() == "precious"


def test_a_folder_of_models_is_no_model(place):
    model = place.folder / "textvec/models/owner/name"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    for command in ("verify-files", "remove"):
        assert_refused(place.run(command, "owner"), 3, "no model")
    assert place.run("verify-files", "owner/name").out.decode().split() == [
        "owner/name/config.json", "unknown"]
    assert place.run("remove", "owner/name").code == 0
    assert not model.exists()


@pytest.mark.parametrize("revision", ["../x", "/x", "a\\b", "", "a b", "x" * 97, "con", "."])
def test_a_bad_revision_asks_nobody(place, hub, revision):
    hub.add(NAME, repository(300_000))
    if revision:
        assert_refused(place.pull(NAME, "--revision", revision), 2, "revision")
    assert_refused(place.pull(f"{NAME}@{revision}"), 2, "REVISION")
    assert hub.requests == []


def test_files_with_bad_names_are_not_taken(place, hub, small):
    evil = ["../evil.json", "1_Pooling/../../../../../evil.json", "/evil.json", "1_Pooling\\evil.json",
            "1_Pooling/con.json", "1_Pooling/evil.json.", "C:evil.json", "1_Pooling/\x00evil.json",
            "1_Pooling//evil.json", "1_" + "x" * 600 + "/evil.json"]
    commit = hub.add(NAME, {**small, **{name: b"evil" for name in evil}})
    answer = place.pull()
    assert answer.code == 0, answer.err
    assert_whole(place, commit, small)
    assert not [path for path in place.folder.rglob("*evil*")]


def listing(**changes):
    return {"sha": "c" * 40, "siblings": [
        {"rfilename": "config.json", "size": 2, "blobId": "a" * 40},
        {"rfilename": "tokenizer.json", "size": 2, "blobId": "a" * 40},
        {"rfilename": "model.safetensors", "size": 3, "blobId": "b" * 40,
         "lfs": {"sha256": "b" * 64, "size": 3}}], **changes}


def weights_that_say(**changes):
    siblings = listing()["siblings"]
    siblings[2]["lfs"].update(changes)
    return listing(siblings=siblings)


BAD_LISTS = {
    "nothing": b"",
    "half": json.dumps(listing()).encode()[:-10],
    "not UTF-8": b'{"sha": "\xff"}',
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "no commit": json.dumps(listing(sha=None)).encode(),
    "a path for a commit": json.dumps(listing(sha="../../../../evil")).encode(),
    "a short commit": json.dumps(listing(sha="c" * 39)).encode(),
    "a number for a commit": json.dumps(listing(sha=7)).encode(),
    "no files": json.dumps(listing(siblings=None)).encode(),
    "files of another kind": json.dumps(listing(siblings={"a": 1})).encode(),
    "a file without a name": json.dumps(listing(siblings=[{"size": 1}])).encode(),
    "a negative size": json.dumps(weights_that_say(size=-1)).encode(),
    "a huge size": json.dumps(weights_that_say(size=1 << 62)).encode(),
    "a fraction of a size": json.dumps(weights_that_say(size=1.5)).encode(),
    "a size of words": json.dumps(weights_that_say(size="3")).encode(),
    "a hash of another kind": json.dumps(weights_that_say(sha256=3)).encode(),
    "too many files": json.dumps(listing(siblings=[{"rfilename": "a"}] * 100_001)).encode(),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_bad_list_is_refused(place, hub, name):
    def wrong(handler, _):
        handler.send(200, BAD_LISTS[name])

    with hub.misbehaving(wrong, server="hub", path="/api/"):
        answer = place.pull(NAME, "--variant", "safetensors")
    assert_refused(answer, 3, "hub's")
    assert not place.hub_cache.exists()


@pytest.mark.parametrize("hash_of", ["../../../evil", "b" * 63, "B" * 64, "b" * 40])
def test_a_hash_that_is_none_is_asked_for_again(place, hub, small, hash_of):
    """It would be a file's name; without one nothing is downloaded."""
    commit = hub.add(NAME, small)

    def wrong(handler, _):
        handler.send_json(weights_that_say(sha256=hash_of) | {"sha": commit})

    with hub.misbehaving(wrong, server="hub", path="/api/"):
        with hub.misbehaving(lambda handler, _: handler.send(
                200, b"", {"ETag": f'"{hash_of}/"', "Content-Length": "3"}), server="hub",
                path="model.safetensors"):
            answer = place.pull(NAME, "--variant", "safetensors")
    assert_refused(answer, 3, "no hash of model.safetensors")
    assert not [path for path in place.folder.rglob("*evil*")]


def test_code_and_pickles_are_never_taken(place, hub, tiny):
    files = folder_files(tiny)
    more = {name: b"cos\nsystem\n(S'true'\ntR." for name in [
        "modeling.py", "pytorch_model.bin", "model.pt", "1_Pooling/run.py", "2_Dense/pytorch_model.bin",
        "setup.sh", "training_args.bin", "model.ckpt", "openvino/model.xml"]}
    commit = hub.add(NAME, {**files, **more})
    assert place.pull().code == 0
    assert_whole(place, commit, files)
    hub.add("owner/pickled", {"config.json": files["config.json"], "tokenizer.json": b"{}",
                              "pytorch_model.bin": b"x"})
    assert_refused(place.pull("owner/pickled"), 2, "pickled weights only")


def test_a_link_in_the_way_is_not_written_through(place, hub, small):
    """Somebody else may write into a shared cache."""
    commit = hub.add(NAME, small)
    victim = place.folder / "victim"
    victim.write_text("precious")
    blobs = place.repository() / "blobs"
    blobs.mkdir(parents=True)
    (blobs / (sha256(small) + ".textvec-part")).symlink_to(victim)
    assert_refused(place.pull(), 4, "cannot write")
    assert victim.read_text() == "precious"
    (blobs / (sha256(small) + ".textvec-part")).unlink()
    snapshot = place.snapshot(commit)
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "model.safetensors").symlink_to(victim)
    assert place.pull().code == 0
    assert victim.read_text() == "precious"
    assert_whole(place, commit, small)


@pytest.mark.parametrize("endpoint", ["ftp://example.com", "example.com", "file:///tmp", "https://u:p@example.com",
                                      "https://", "javascript:1"])
def test_a_bad_endpoint_is_said(place, endpoint):
    assert_refused(place.pull(env={"HF_ENDPOINT": endpoint}), 2, "HF_ENDPOINT")
