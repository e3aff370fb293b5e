"""In: repositories in memory. Out: a Hugging Face hub on loopback that speaks the real protocol, and
misbehaves on command.

The real one's answers, as huggingface_hub and transformers rely on them:
  GET  /api/models/NAME/revision/REV?blobs=true   commit and files; sizes and hashes with blobs=true
  GET  /api/models/NAME/tree/COMMIT?recursive=... the same as pages of a list
  HEAD, GET /NAME/resolve/REV/FILE                small files: the bytes, ETag a git blob's SHA-1;
      large ones: 302 to a CDN on another host, with X-Linked-Etag (SHA-256) and X-Linked-Size
The CDN is a second server, and Range is honoured everywhere.
"""
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import socketserver
import threading
import time
import urllib.parse

LARGE_BYTES = 100_000  # from here on a file is one of git-lfs
BLOCK = 1 << 16


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclasses.dataclass
class File:
    data: bytes
    large: bool
    sha256: str
    sha1: str

    @property
    def etag(self):
        return self.sha256 if self.large else self.sha1


def file_of(data):
    return File(data, len(data) >= LARGE_BYTES, hashlib.sha256(data).hexdigest(), git_sha1(data))


@dataclasses.dataclass
class Repository:
    files: dict
    revisions: dict  # branch or tag -> commit
    token: str | None = None  # without it: private
    gated: bool = False


@dataclasses.dataclass
class Request:
    server: str  # "hub" or "cdn"
    method: str
    path: str
    headers: dict
    sent: int = 0  # bytes of the body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 0

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        self.answer(True)

    def do_HEAD(self):  # noqa: N802
        self.answer(False)

    def answer(self, with_body):
        hub = self.server.hub
        request = Request(self.server.role, self.command, self.path,
                          {name.lower(): value for name, value in self.headers.items()})
        hub.record(request)
        self.request_record, self.with_body = request, with_body
        try:
            for wrong in list(hub.misbehaviours):
                if wrong(self, request):
                    return
            getattr(self, "answer_" + self.server.role)(urllib.parse.urlsplit(self.path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # --- The answers of a hub that behaves

    def answer_hub(self, url):
        hub = self.server.hub
        path = urllib.parse.unquote(url.path)
        listing = re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)/(revision|tree)/(.+)", path)
        if listing:
            return self.answer_listing(*listing.groups(), urllib.parse.parse_qs(url.query))
        resolve = re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/(.+)", path)
        if not resolve:
            return self.send(404, b"no such page")
        repository = self.permitted(resolve[1])
        if repository is None:
            return None
        revision, _, name = resolve[2].partition("/")
        commit = hub.commit_of(repository, revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        file = repository.files.get(name)
        if file is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not file.large:
            return self.send_file(file, {**headers, "ETag": f'"{file.sha1}"'})
        return self.send(302, b"see the CDN", {
            **headers, "X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data)),
            "X-Xet-Hash": "0" * 64, "ETag": '"of-the-redirect"',
            "Location": hub.cdn_url + "/blobs/" + file.sha256 + "?signature=good"})

    def answer_listing(self, name, kind, revision, query):
        hub = self.server.hub
        repository = self.permitted(name)
        if repository is None:
            return None
        commit = hub.commit_of(repository, revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        if kind == "tree":
            return self.send_json([self.tree_entry(path, file)
                                   for path, file in sorted(repository.files.items())])
        with_blobs = query.get("blobs") in (["true"], ["True"], ["1"]) and hub.says_blobs
        siblings = [self.sibling(path, file, with_blobs)
                    for path, file in sorted(repository.files.items())]
        return self.send_json({"id": name, "modelId": name, "sha": commit, "private": False,
                               "gated": False, "disabled": False, "tags": [], "downloads": 0,
                               "likes": 0, "siblings": siblings})

    @staticmethod
    def sibling(path, file, with_blobs):
        entry = {"rfilename": path}
        if with_blobs:
            entry |= {"size": len(file.data), "blobId": file.sha1}
            if file.large:
                entry["lfs"] = {"sha256": file.sha256, "size": len(file.data), "pointerSize": 134}
        return entry

    @staticmethod
    def tree_entry(path, file):
        entry = {"type": "file", "path": path, "size": len(file.data), "oid": file.sha1}
        if file.large:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": 134}
        return entry

    def answer_cdn(self, url):
        found = re.fullmatch(r"/blobs/([0-9a-f]{64})", url.path)
        file = self.server.hub.blob(found[1]) if found else None
        if file is None or url.query != "signature=good":
            return self.send(403, b"the link has expired")
        return self.send_file(file, {"ETag": '"of-the-cdn"', "Accept-Ranges": "bytes"})

    def permitted(self, name):
        repository = self.server.hub.repositories.get(name)
        given = self.headers.get("Authorization")
        if repository is None:
            self.refuse(401 if given is None else 404, "RepoNotFound")
            return None
        if repository.token is not None and given != f"Bearer {repository.token}":
            if repository.gated:
                self.refuse(403 if given else 401, "GatedRepo")
            else:
                self.refuse(401, "RepoNotFound")
            return None
        return repository

    # --- Words on the wire

    def refuse(self, status, code):
        self.send(status, b'{"error":"no"}', {"X-Error-Code": code, "X-Error-Message": "no"})

    def send_json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.with_body:
            self.send_body(body)

    def send_body(self, body):
        hub = self.server.hub
        for begin in range(0, len(body), BLOCK):
            block = body[begin:begin + BLOCK]
            self.wfile.write(block)
            with hub.lock:
                self.request_record.sent += len(block)
            if hub.bytes_per_second:
                time.sleep(len(block) / hub.bytes_per_second)

    def range_of(self, size):
        """(begin, end) that the request asks for; None for all; a string for what cannot be."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not found:
            return None
        begin = int(found[1])
        end = min(int(found[2]) + 1 if found[2] else size, size)
        return (begin, end) if begin < end else "unsatisfiable"

    def send_file(self, file, headers):
        asked = self.range_of(len(file.data))
        if asked == "unsatisfiable":
            return self.send(416, b"", {"Content-Range": f"bytes */{len(file.data)}"})
        if asked is None:
            return self.send(200, memoryview(file.data), headers)
        begin, end = asked
        return self.send(206, memoryview(file.data)[begin:end], {
            **headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(file.data)}"})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub, role, host):
        super().__init__((host, 0), Handler)
        self.hub, self.role = hub, role

    def handle_error(self, *_):
        pass  # a client that went away


class FakeHub:
    """Two servers while it is entered: the hub on 127.0.0.1, the CDN on 127.0.0.2, so that they are
    two hosts to whoever compares names."""

    def __init__(self, cdn_host="127.0.0.2"):
        self.repositories = {}
        self.requests = []
        self.misbehaviours = []  # called with (handler, request); true: it answered
        self.bytes_per_second = None  # of each connection
        self.says_blobs = True
        self.lock = threading.Lock()
        self.servers = [Server(self, "hub", "127.0.0.1"), Server(self, "cdn", cdn_host)]
        self.url, self.cdn_url = (
            f"http://{server.server_address[0]}:{server.server_address[1]}"
            for server in self.servers)

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, revision="main", **options):
        """`files`: path -> bytes. Returns the commit."""
        known = {path: data if isinstance(data, File) else file_of(data)
                 for path, data in files.items()}
        commit = hashlib.sha1(
            repr(sorted((path, file.sha256) for path, file in known.items())).encode()).hexdigest()
        self.repositories[name] = Repository(known, {revision: commit}, **options)
        return commit

    @staticmethod
    def commit_of(repository, revision):
        if revision in repository.revisions.values():
            return revision
        return repository.revisions.get(revision)

    def blob(self, sha256):
        for repository in self.repositories.values():
            for file in repository.files.values():
                if file.sha256 == sha256:
                    return file
        return None

    def record(self, request):
        with self.lock:
            self.requests.append(request)

    def forget(self):
        with self.lock:
            self.requests.clear()

    @contextlib.contextmanager
    def misbehaving(self, wrong, times=None, server=None, path=""):
        """`wrong(handler, request)` answers the next `times` requests to `server` whose path holds
        `path`; when it returns False, the usual answer is given."""
        left = [times]

        def maybe(handler, request):
            if server not in (None, request.server) or path not in request.path:
                return False
            with self.lock:
                if left[0] == 0:
                    return False
                if left[0] is not None:
                    left[0] -= 1
            return wrong(handler, request) is not False

        self.misbehaviours.append(maybe)
        try:
            yield self
        finally:
            self.misbehaviours.remove(maybe)

    def sent(self, server="cdn"):
        with self.lock:
            return sum(request.sent for request in self.requests if request.server == server)
