# In: the page at /, in Debian's Chromium. Out: whether it shows what the API says, asks nobody but its
# server, takes no text for HTML, and can be used with a keyboard, in the dark and on a small screen.
# TEXTVEC_SCREENSHOTS names a folder for pictures to look at.
import base64
import contextlib
import http.client
import http.server
import os
import pathlib
import re
import sys
import threading

import numpy
import pytest
import tokenizers
from playwright.sync_api import expect, sync_playwright

import command_line
import serving

SOURCES = command_line.ROOT / "apps/server/page"
CHROMIUM = os.environ.get("TEXTVEC_CHROMIUM", "/usr/bin/chromium")
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
KEY = "0123456789abcdef"
HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b> & "quotes"'
TEXTS = ["a cat sat on the mat", "shares fell sharply", "Gr\u00fc\u00dfe \U0001f9ed \u4f60\u597d",
         "unbelievable tokenization", HOSTILE]


def path_of(source):
    return "/" if source.name == "index.html" else f"/page/{source.name}"


FILES = {path_of(source): source for source in sorted(SOURCES.iterdir())}


@pytest.fixture(scope="module")
def key_server(tiny, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(KEY + "\n")
    with serving.serving("--api-keys", keys, model=tiny) as running:
        yield running


# --- What is served


@pytest.mark.parametrize("path", FILES)
def test_files_are_served_as_they_are(server, path):
    source = FILES[path]
    reply = server.get(path)
    assert reply.status == 200
    assert reply.body == source.read_bytes()
    assert reply.fields["content-type"] == TYPES[source.suffix]
    assert reply.fields["x-content-type-options"] == "nosniff"
    assert reply.fields["referrer-policy"] == "no-referrer"
    assert reply.fields["cache-control"] == "no-cache"
    assert "content-security-policy" in reply.fields
    tag = reply.fields["etag"]
    assert re.fullmatch(r'"[0-9a-f]{16}"', tag)

    head = server.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    for name in ["content-type", "content-length", "etag", "content-security-policy"]:
        assert head.fields[name] == reply.fields[name]

    for tags in [tag, f"W/{tag}", f'"other", {tag}', f'"a,b" ,\t{tag}', "*"]:
        for method in ["GET", "HEAD"]:
            same = server.ask(method, path, None, [("If-None-Match", tags)])
            assert (same.status, same.body) == (304, b""), tags
            assert same.fields["etag"] == tag
            assert same.fields["cache-control"] == "no-cache"
            assert "content-type" not in same.fields and "content-length" not in same.fields
    for tags in ['"other"', tag.strip('"'), tag[:-1], "W/", ",", ""]:
        assert server.get(path, [("If-None-Match", tags)]).status == 200, tags


def test_tags_tell_files_apart(server):
    assert len({server.get(path).fields["etag"] for path in FILES}) == len(FILES)


def test_a_reply_without_a_body_leaves_the_connection_in_step(server):
    with server.connect() as connection:
        for _ in range(2):
            connection.send(serving.request("GET", "/", None, [("If-None-Match", "*")]))
            assert connection.read_reply(head_only=True).status == 304
        connection.send(serving.request("GET", "/page/api.js"))
        assert connection.read_reply().body == FILES["/page/api.js"].read_bytes()


def test_paths_are_those_of_the_files_only(server):
    for path in ["/page", "/page/", "/page/index.html", "/page/other.js", "/page/../page/api.js",
                 "/page/API.js", "/favicon.ico"]:
        assert server.get(path).status == 404, path
    assert server.get("/?a=b").status == 200
    refused = server.ask("POST", "/page/api.js", {})
    assert (refused.status, refused.fields["allow"]) == (405, "GET")
    refused = server.ask("DELETE", "/")
    assert (refused.status, refused.fields["allow"]) == (405, "GET, POST")


def test_the_page_needs_no_key_and_the_api_does(key_server):
    for path in FILES:
        assert key_server.get(path).status == 200, path
    for path in ["/info", "/metrics", "/page/other.js"]:
        assert key_server.get(path).status == 401, path


def test_no_page_gives_the_probe_back(tiny):
    with serving.serving("--no-page", model=tiny) as running:
        probe = running.get("/")
        assert (probe.status, probe.body) == (200, b"")
        assert "content-security-policy" not in probe.fields
        for path in FILES:
            assert path == "/" or running.get(path).status == 404, path
        assert running.ask("DELETE", "/").fields["allow"] == "GET, POST"


def test_info_has_what_the_page_offers(server):
    info = server.get("/info").json()
    assert info["prompts"] == {"query": "search for: ", "passage": "stored: "}
    assert info["default_prompt"] == ""
    assert info["path"] == "fused"
    (placed,) = info["placement"]
    assert placed["provider"] == "CPUExecutionProvider"
    assert placed["nodes"] >= 1 and placed["partitions"] >= 1


# --- It asks nobody else


def test_the_policy_allows_this_server_only(server):
    policy = server.get("/").fields["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives.pop("require-trusted-types-for") == "'script'"
    assert directives.pop("trusted-types") == "'none'"
    assert directives == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
        "img-src": "'self'", "connect-src": "'self'", "base-uri": "'none'",
        "form-action": "'none'", "frame-ancestors": "'none'"}


@pytest.mark.parametrize("path", FILES)
def test_sources_name_nobody_else_and_write_no_html(path):
    text = FILES[path].read_text(encoding="ascii")
    assert len(text) < 65536  # of a literal, to every compiler
    named = set(re.findall(r"\w+://[^\s\"'`)]*", text)) - {"http://www.w3.org/2000/svg"}
    assert not named
    # Behind a proxy the page lies below a path.
    assert not re.search(r"""(?:href|src|import|from|url\()\s*=?\s*["'(`]?/""", text)
    for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser",
                "eval(", "new Function", "setAttribute(\"style", "localStorage", "sessionStorage",
                "indexedDB", "cookie", "caches", "@import", "javascript:"]:
        assert way not in text, way
    if path == "/":
        assert not re.search(r"\s(?:on\w+|style)=", text)
        assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
        assert "<style" not in text


# --- In the browser


@pytest.fixture(scope="module")
def browser():
    if not sys.platform.startswith("linux") and not os.path.exists(CHROMIUM):
        pytest.skip("TEXTVEC_CHROMIUM names no browser")
    assert os.path.exists(CHROMIUM), f"{CHROMIUM} is missing: run scripts/setup --tests"
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


class Visit:
    """A page, all that it asked for, and all that the browser complained about."""

    def __init__(self, page, url):
        self.page = page
        self.origin = url
        self.asked = []
        self.complaints = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text)
                if message.type in ("error", "warning") else None)

    def open(self):
        self.page.goto(self.origin + "/")
        expect(self.at("live-provider")).to_have_text("cpu")
        return self

    def at(self, name):
        return self.page.locator(f"#{name}")

    def embed(self, texts=TEXTS, rows=None):
        self.at("texts").fill("\n".join(texts))
        self.page.get_by_role("button", name="Embed").click()
        expect(self.at("done")).to_contain_text("there and back")
        expect(self.page.locator("#tokens > li")).to_have_count(rows or len(texts))

    def refuse(self, words):
        self.page.get_by_role("button", name="Embed").click()
        expect(self.at("problem")).to_have_text(words)

    def cosines(self):
        values = self.page.locator("#heat td data").evaluate_all(
            "cells => cells.map((cell) => Number(cell.value))")
        size = int(len(values) ** 0.5)
        return numpy.array(values).reshape(size, size)

    def assert_alone(self):
        for url in self.asked:
            assert url.startswith(self.origin + "/"), url


@contextlib.contextmanager
def visiting(browser, url, complaints=(), **options):
    """Every complaint of the browser must match one of `complaints`."""
    with contextlib.ExitStack() as ending:
        context = browser.new_context(**options)
        ending.callback(context.close)
        context.set_default_timeout(30_000)
        visit = Visit(context.new_page(), url)
        yield visit
        visit.assert_alone()
        for complaint in visit.complaints:
            assert any(re.search(pattern, complaint) for pattern in complaints), complaint


def cosines_of(vectors):
    vectors = vectors.astype(numpy.float64)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def picture(page, name):
    folder = os.environ.get("TEXTVEC_SCREENSHOTS")
    if folder:
        page.screenshot(path=pathlib.Path(folder, name + ".png"), full_page=True)


def test_texts_become_tokens_cosines_and_a_map(browser, server, tiny):
    with visiting(browser, server.url) as visit:
        page = visit.open().page
        expect(visit.at("model")).to_have_text("tiny")
        visit.embed()

        # Tokens: those of the tokenizers library, by id.
        reference = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
        reference.no_padding()
        for i, text in enumerate(TEXTS):
            item = page.locator("#tokens > li").nth(i)
            ids = item.locator(".ids li").evaluate_all(
                "all => all.map((one) => Number(one.lastChild.data))")
            assert ids == reference.encode(text).ids
            assert item.locator(".special").all_text_contents() == ["[CLS]", "[SEP]"]
            assert item.locator(".pieces").text_content() == f"[CLS]{text}[SEP]"
            expect(item.locator("summary")).to_contain_text(f"{len(ids)} tokens")
        classes = page.locator("#tokens > li").nth(3).locator(".token").evaluate_all(
            "all => all.map((one) => one.className)")
        assert all(a != b for a, b in zip(classes, classes[1:]))

        # Cosines: those of /embed.
        expected = cosines_of(server.vectors(TEXTS))
        numpy.testing.assert_allclose(visit.cosines(), expected, atol=2e-6)
        shown = page.locator("#heat td").all_text_contents()
        assert shown == [f"{value:.2f}" for value in visit.cosines().ravel()]
        shares = page.locator("#heat td").evaluate_all(
            "all => all.map((one) => Number(one.style.getPropertyValue('--share')))")
        low = expected.min()
        numpy.testing.assert_allclose(shares, ((expected - low) / (1 - low)).ravel(), atol=1e-3)
        expect(visit.at("scale-low")).to_have_text(f"{low:.2f}")
        colours = page.locator("#heat td").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).backgroundColor)")
        assert colours[0] != colours[int(expected.argmin())]

        # The map: a point a text, where numpy puts it.
        expect(page.locator("#map circle")).to_have_count(len(TEXTS))
        assert page.locator("#map circle title").all_text_contents() == TEXTS
        labels = page.locator("#map .label").all_text_contents()
        assert [label.split(" ")[0] for label in labels] == [str(i + 1) for i in range(len(TEXTS))]
        points, explained = principal_points(server.vectors(TEXTS))
        for axis, text in enumerate(page.locator("#map .axis").all_text_contents()):
            assert text.endswith(f": {100 * explained[axis]:.0f} % of the variance")
        numbers = page.locator("#map-numbers td").all_text_contents()
        numpy.testing.assert_allclose(
            numpy.array(numbers, float).reshape(-1, 2), points, atol=6e-4)

        # What was typed is text, whatever it looks like.
        assert page.locator("#results img, #results b").count() == 0
        assert page.title() == "tiny \u2013 textvec"
        picture(page, "light")


def principal_points(vectors):
    """numpy's, with the page's choice of signs."""
    centred = vectors.astype(numpy.float64) - vectors.mean(axis=0, dtype=numpy.float64)
    left, sizes, _ = numpy.linalg.svd(centred, full_matrices=False)
    points = left[:, :2] * sizes[:2]
    for axis in range(points.shape[1]):
        furthest = numpy.abs(points[:, axis]).max()
        first = numpy.argmax(numpy.abs(points[:, axis]) >= furthest * (1 - 1e-6))
        points[:, axis] *= numpy.sign(points[first, axis])
    return points, (sizes ** 2 / (sizes ** 2).sum())[:2]


def test_the_choices_are_those_of_the_model(browser, server):
    with visiting(browser, server.url) as visit:
        page = visit.open().page
        options = visit.at("prompt").locator("option").all_text_contents()
        assert options == ["none", "passage (role document)", "query"]
        expect(visit.at("dimensions-note")).to_have_text("1 to 32; empty: all")
        visit.at("prompt").select_option("passage")
        expect(visit.at("prompt-note")).to_have_text("puts before a text: stored: ")
        visit.at("dimensions").fill("5")
        visit.embed()
        expect(visit.at("done")).to_contain_text("5 dimensions")
        numpy.testing.assert_allclose(
            visit.cosines(), cosines_of(server.vectors(TEXTS, prompt_name="passage", dimensions=5)),
            atol=2e-6)
        first = page.locator("#tokens > li").first
        assert first.locator(".pieces").text_content() == f"[CLS]stored: {TEXTS[0]}[SEP]"
        assert first.locator(".of-prompt").all_text_contents() == ["stored", ":"]

        # A text that is cut off says so; one text has a map too.
        visit.at("prompt").select_option("")
        visit.at("dimensions").fill("")
        visit.embed(["word " * 100])
        expect(page.locator("#tokens summary")).to_contain_text("102 tokens, cut off")
        expect(page.locator("#tokens summary")).to_contain_text("of 64")
        expect(page.locator("#map circle")).to_have_count(1)
        assert visit.cosines().tolist() == [[1]]

        # Lines without a text are left out; Ctrl and Enter are the button.
        visit.at("texts").fill("\n  \none\n\ntwo\n")
        visit.at("texts").press("Control+Enter")
        expect(page.locator("#tokens > li")).to_have_count(2)


def test_errors_stand_beside_the_form_in_words(browser, server):
    with visiting(browser, server.url, [r"status of (400|429|502)", "ERR_FAILED"]) as visit:
        page = visit.open().page
        visit.embed(["one", "two"])
        visit.at("dimensions").fill("33")
        visit.refuse(re.compile("^Dimensions.* 32"))
        expect(visit.at("dimensions")).to_be_focused()
        expect(visit.at("dimensions")).to_have_attribute("aria-invalid", "true")
        expect(visit.at("done")).to_have_text("What is below is of the request before.")
        visit.at("dimensions").fill("")
        visit.embed(["one", "two", "three"])
        expect(visit.at("problem")).to_be_empty()
        assert visit.at("dimensions").get_attribute("aria-invalid") is None

        for texts, words in [("", re.compile("^Input")),
                             ("a\n" * 65, re.compile("64 texts at most, and not 65"))]:
            visit.at("texts").fill(texts)
            visit.refuse(words)
            expect(visit.at("texts")).to_be_focused()
        visit.embed([f"text {i}" for i in range(64)])  # 64 are not too many

        def refuse_by(status, body, **headers):
            page.route("**/v1/embeddings", lambda route: route.fulfill(
                status=status, body=body, headers=headers))

        refuse_by(429, '{"error":{"message":"as much as fits waits"}}', **{"retry-after": "7"})
        visit.refuse("As much as fits waits (try again in 7 s)")
        refuse_by(502, "<html>a proxy's</html>")
        visit.refuse("The server answered 502")
        refuse_by(400, '{"error":{"message":"input[1]: is no text"}}')
        visit.refuse("Text 2: is no text")
        page.route("**/v1/embeddings", lambda route: route.abort())
        visit.refuse("The server does not answer")
        page.unroute("**/v1/embeddings")
        visit.embed()


def test_a_key_is_asked_for_and_not_kept(browser, key_server):
    with visiting(browser, key_server.url, ["status of 401"]) as visit:
        page = visit.page
        page.clock.install()
        page.goto(visit.origin + "/")
        expect(visit.at("live-problem")).to_contain_text("asks for an API key")
        before = len(visit.asked)
        page.clock.run_for(20_000)  # without a key it does not ask again and again
        assert len(visit.asked) == before
        visit.refuse(re.compile("asks for an API key"))
        expect(visit.at("key")).to_be_focused()
        visit.at("key").fill("x" * 16)
        visit.refuse(re.compile("asks for an API key"))
        visit.at("key").fill("\u4f60\u597d")
        visit.refuse(re.compile("visible ASCII characters only"))
        visit.at("key").fill(KEY)
        visit.at("key").press("Tab")
        expect(visit.at("live-provider")).to_have_text("cpu")
        expect(visit.at("live-problem")).to_be_empty()
        visit.embed()
        expect(visit.at("problem")).to_be_empty()
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert page.context.cookies() == []
        assert KEY not in page.url and not any(KEY in url for url in visit.asked)
        assert visit.at("key").evaluate("field => field.form") is None
        page.reload()
        expect(visit.at("live-problem")).to_contain_text("asks for an API key")
        expect(visit.at("key")).to_have_value("")


def test_what_goes_on_is_shown_while_the_page_is(browser, server):
    with visiting(browser, server.url, ["ERR_FAILED"]) as visit:
        page = visit.page
        page.clock.install(time=1_000_000)
        page.clock.pause_at(1_010_000)
        visit.open()
        expect(visit.at("live-queue")).to_have_text("0")
        expect(visit.at("live-connections")).to_have_text(re.compile(r"^[1-9]\d*$"))
        expect(visit.at("live-runtime")).to_contain_text("ONNX Runtime")
        expect(visit.at("live-nodes")).to_contain_text("nodes on CPU")
        expect(visit.at("live-texts")).to_have_text("\u2013")
        server.vectors(["another", "client's", "seven", "texts", "of", "one", "request"])
        page.clock.run_for(2000)
        expect(visit.at("live-texts")).to_have_text("3.5")
        expect(visit.at("live-p50")).to_have_text(re.compile(r"^[\d,.]+$"))
        expect(visit.at("live-p99")).to_have_text(re.compile(r"^[\d,.]+$"))

        hide = """(hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        page.evaluate(hide, True)
        before = len(visit.asked)
        page.clock.run_for(20_000)
        assert len(visit.asked) == before
        with page.expect_response("**/metrics"):
            page.evaluate(hide, False)
        expect(visit.at("live-texts")).to_have_text("\u2013")  # nothing to compare with yet
        with page.expect_response("**/metrics"):
            page.clock.run_for(2000)
        expect(visit.at("live-texts")).to_have_text("0.0")

        page.route("**/metrics", lambda route: route.abort())
        page.clock.run_for(2000)
        expect(visit.at("live-problem")).to_have_text("The server does not answer")
        expect(visit.at("live-texts")).to_have_text("\u2013")
        page.unroute("**/metrics")
        page.clock.run_for(2000)
        expect(visit.at("live-problem")).to_be_empty()


@contextlib.contextmanager
def below_a_path(server, prefix):
    """A proxy that hands `prefix`/... on as /..."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def hand_on(self):
            if not self.path.startswith(prefix + "/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            behind = http.client.HTTPConnection(*server.address, timeout=serving.SECONDS_MAX)
            with contextlib.closing(behind):
                behind.request(self.command, self.path.removeprefix(prefix), body or None,
                               dict(self.headers))
                reply = behind.getresponse()
                data = reply.read()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("connection", "server", "date"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = hand_on

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}{prefix}"
        finally:
            proxy.shutdown()
            thread.join()


def test_it_works_below_a_path(browser, server):
    with below_a_path(server, "/models/tiny") as url, visiting(browser, url) as visit:
        visit.open().embed()
        numpy.testing.assert_allclose(
            visit.cosines(), cosines_of(server.vectors(TEXTS)), atol=2e-6)


# --- For everybody

# What a checker of accessibility would say: a list of complaints.
CHECK = r"""() => {
  const wrong = [];
  const all = [...document.querySelectorAll("*")];
  const ids = all.map(({ id }) => id).filter(Boolean);
  if (new Set(ids).size !== ids.length) wrong.push("an id stands twice");
  if (document.documentElement.lang !== "en") wrong.push("no lang");
  if (document.title === "") wrong.push("no title");
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
  for (const field of document.querySelectorAll("input, select, textarea")) {
    if (field.labels.length !== 1 || field.labels[0].textContent.trim() === "") {
      wrong.push(`${field.id} has no label`);
    }
  }
  for (const button of document.querySelectorAll("button, a, summary")) {
    if (button.textContent.trim() === "") wrong.push("a control has no name");
  }
  for (const attribute of ["aria-describedby", "aria-labelledby", "for"]) {
    for (const one of document.querySelectorAll(`[${attribute}]`)) {
      const id = one.getAttribute(attribute);
      if (!document.getElementById(id)) wrong.push(`${attribute} ${id} leads nowhere`);
    }
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt")) wrong.push("an image has no alt");
  }
  for (const drawing of document.querySelectorAll("svg")) {
    if (drawing.ariaHidden !== "true" && !(drawing.role === "img" && drawing.ariaLabel)) {
      wrong.push("a drawing has no words");
    }
  }
  for (const table of document.querySelectorAll("table")) {
    for (const head of table.querySelectorAll("th")) {
      if (!head.scope) wrong.push("a head of a table has no scope");
    }
    for (const row of table.tBodies[0].rows) {
      if (row.cells[0]?.tagName !== "TH") wrong.push("a row has no head");
    }
  }
  for (const region of document.querySelectorAll("[role=region]")) {
    if (region.tabIndex !== 0) wrong.push("what scrolls cannot be reached");
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) wrong.push(`a heading skips to ${next}`);
    level = next;
  }

  // Contrast: 4.5, WCAG's AA for text of this size.
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => colour.slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let least = Infinity;
  for (const element of all) {
    const has = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    if (!has || !element.checkVisibility() || element.matches("title, .hidden, option")) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(rgba(drawn)), luminance(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    least = Math.min(least, contrast);
    if (contrast < 4.5) {
      wrong.push(`contrast ${contrast.toFixed(2)}: ${element.className} ${element.textContent}`);
    }
  }
  if (least === Infinity) wrong.push("nothing was looked at");
  return wrong;
}"""

SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => setTimeout(() => done(sum), 100));
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_everybody_can_read_it(browser, server, scheme, width):
    with visiting(browser, server.url, color_scheme=scheme,
                  viewport={"width": width, "height": 800}) as visit:
        page = visit.open().page
        expect(visit.at("live-queue")).to_have_text("0")
        assert page.evaluate(CHECK) == []
        picture(page, f"first-{scheme}-{width}")
        visit.embed()
        page.locator("#tokens summary").first.click()
        visit.at("map-numbers").locator("summary").click()
        assert page.evaluate(CHECK) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SHIFTS) < 0.02
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", dark)[:3])) < 64) == (scheme == "dark")
        for size in page.locator("button, input, select").evaluate_all(
                "all => all.map((one) => one.getBoundingClientRect().height)"):
            assert size >= 40  # for thumbs
        picture(page, f"{scheme}-{width}")


def test_a_keyboard_is_enough(browser, server):
    with visiting(browser, server.url) as visit:
        page = visit.open().page
        reached = []
        for _ in range(6):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring == "solid", reached
        assert reached == ["key", "texts", "prompt", "dimensions", "embed", "heat"]
        visit.at("texts").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("typed")
        for _ in range(3):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#tokens > li .pieces")).to_have_text("[CLS]typed[SEP]")
        expect(visit.at("embed")).to_be_focused()


# --- The pure functions


def from_page(module):
    return f'new URL("page/{module}.js", document.baseURI)'


@pytest.fixture(scope="module")
def modules(browser, server):
    with visiting(browser, server.url) as visit:
        page = visit.open().page

        def call(module, function, *arguments):
            return page.evaluate(
                f"async (all) => (await import({from_page(module)})).{function}(...all)",
                list(arguments))

        call.page = page
        yield call


@pytest.mark.parametrize("rows, dimension", [(2, 3), (3, 3), (5, 2), (8, 64), (64, 16), (2, 1)])
def test_principal_points_are_numpys(modules, rows, dimension):
    vectors = numpy.random.default_rng(rows * 100 + dimension).normal(size=(rows, dimension))
    found = modules("vectors", "principalPoints", vectors.tolist())
    points, explained = principal_points(vectors)
    axes = min(2, dimension, rows - 1)
    numpy.testing.assert_allclose(
        numpy.array(found["points"])[:, :axes], points[:, :axes], atol=1e-9)
    numpy.testing.assert_allclose(found["explained"][:axes], explained[:axes], atol=1e-12)
    for axis in range(axes, 2):
        assert all(point[axis] == 0 for point in found["points"])
        assert found["explained"][axis] == 0
    assert found == modules("vectors", "principalPoints", vectors.tolist())


def test_vectors_that_do_not_differ_have_one_place(modules):
    nowhere = {"points": [[0, 0]] * 3, "explained": [0, 0]}
    assert modules("vectors", "principalPoints", [[0.5, 0.25]] * 3) == nowhere
    almost = [[0.6, 0.8], [0.6 + 1e-7, 0.8], [0.6, 0.8 - 1e-7]]  # float32's rounding
    assert modules("vectors", "principalPoints", almost) == nowhere
    one = modules("vectors", "principalPoints", [[1, 2]])
    assert one == {"points": [[0, 0]], "explained": [0, 0]}


def test_eigenvalues_are_numpys(modules):
    random = numpy.random.default_rng(7)
    for size in [1, 2, 9]:
        matrix = random.normal(size=(size, size))
        matrix += matrix.T
        found = modules.page.evaluate(
            f"""async (matrix) => {{
              const {{ values, vectors }} = (await import({from_page("vectors")})).eigen(matrix);
              return {{ values, vectors: vectors.map((row) => [...row]) }};
            }}""", matrix.tolist())
        numpy.testing.assert_allclose(
            sorted(found["values"]), numpy.linalg.eigvalsh(matrix), atol=1e-10)
        vectors = numpy.array(found["vectors"])
        numpy.testing.assert_allclose(
            matrix @ vectors, vectors * numpy.array(found["values"]), atol=1e-10)
        numpy.testing.assert_allclose(vectors.T @ vectors, numpy.eye(size), atol=1e-10)


def test_cosines_are_numpys(modules):
    vectors = numpy.random.default_rng(3).normal(size=(6, 11))
    numpy.testing.assert_allclose(
        modules("vectors", "cosineMatrix", vectors.tolist()), cosines_of(vectors), atol=1e-12)
    assert modules("vectors", "cosine", [3, 4], [-6, -8]) == -1
    assert modules("vectors", "cosine", [0, 0], [1, 2]) == 0
    assert modules("vectors", "cosineMatrix", [[0, 0], [1, 2]])[0] == [0, 0]


def token(number, text, start=None, stop=None):
    return {"id": number, "text": text, "special": start is None, "start": start, "stop": stop}


@pytest.mark.parametrize("whole, prompt, tokens, expected", [
    ("", 0, [token(1, "[CLS]")], [("special", "[CLS]")]),
    ("ab cd", 0, [token(1, "<s>"), token(2, "ab", 0, 2), token(3, "cd", 3, 5)],
     [("special", "<s>"), ("token", "ab"), ("gap", " "), ("token", "cd")]),
    # The prompt ends within a token, or at its end: n - 1, n, n + 1.
    ("q: x", 2, [token(2, "q", 0, 1), token(3, ":", 1, 2), token(4, "x", 3, 4)],
     [("token", "q", True), ("token", ":", True), ("gap", " "), ("token", "x")]),
    ("q: x", 1, [token(2, "q:", 0, 2)], [("token", "q:"), ("gap", " x")]),
    ("q: x", 3, [token(2, "q:", 0, 2)], [("token", "q:", True), ("gap", " x")]),
    # Characters, not UTF-16's halves of them.
    ("\U0001f9ed\U0001f9edx", 0, [token(1, "\U0001f9ed", 1, 2), token(2, "x", 2, 3)],
     [("gap", "\U0001f9ed"), ("token", "\U0001f9ed"), ("token", "x")]),
    # Two tokens of one character; two that share one.
    ("\u4f60", 0, [token(1, "\u4f60", 0, 1), token(2, "", 1, 1)], [("token", "\u4f60"), ("token", "")]),
    ("ab", 0, [token(1, "ab", 0, 2), token(2, "b", 1, 2)], [("token", "ab"), ("token", "")]),
    # A special token that was typed stands in the text, one that was added does not.
    ("a [SEP]", 0, [token(1, "a", 0, 1), token(9, "[SEP]", 2, 7), token(9, "[SEP]")],
     [("token", "a"), ("gap", " "), ("token", "[SEP]"), ("special", "[SEP]")]),
])
def test_pieces_hold_the_whole_text(modules, whole, prompt, tokens, expected):
    pieces = modules("tokens", "piecesOf", whole, prompt, tokens)
    assert [(one["kind"], one["text"], *[True] * bool(one.get("ofPrompt"))) for one in pieces] == expected
    assert [one["id"] for one in pieces if "id" in one] == [one["id"] for one in tokens]
    typed = "".join(one["text"] for one in pieces if one["kind"] != "special")
    assert typed == whole


def test_roles_are_the_servers(modules):
    prompts = {"query": "", "passage": "", "corpus": "", "s2s": ""}
    assert [modules("tokens", "roleOf", name, prompts) for name in prompts] == [
        "query", "document", "", ""]
    assert modules("tokens", "roleOf", "passage", {**prompts, "document": ""}) == ""
    assert modules("tokens", "roleOf", "toString", prompts) == ""


METRICS = """# HELP te_embed_count texts
te_embed_count {count}
te_embed_success {count}
textvec_tokens_total {tokens}
te_queue_size 3
te_request_duration_bucket{{le="0.001"}} {low}
te_request_duration_bucket{{le="0.002"}} {mid}
te_request_duration_bucket{{le="+Inf"}} {all}
te_request_duration_sum 1.5
te_request_queue_duration_bucket{{le="+Inf"}} 1000
"""


def test_rates_and_latencies_come_from_differences(modules):
    summary = f"""async (samples) => {{
      const {{ parseMetrics, summaryOf, withSample }} = await import({from_page("metrics")});
      let kept = [];
      for (const [seconds, text] of samples) {{
        kept = withSample(kept, {{ seconds, values: parseMetrics(text) }}, 10);
      }}
      return {{ ...summaryOf(kept), kept: kept.length }};
    }}"""

    def at(seconds, count, low=0, mid=0, all=0):
        return [seconds, METRICS.format(count=count, tokens=10 * count, low=low, mid=mid, all=all)]

    def of(*samples):
        return modules.page.evaluate(summary, list(samples))

    one = of(at(0, 5, 1, 2, 3))
    assert (one["texts"], one["tokens"], one["p50"], one["queue"]) == (None, None, None, 3)
    two = of(at(0, 5, 10, 10, 10), at(4, 25, 10, 20, 20))
    assert (two["texts"], two["tokens"]) == (5, 50)
    assert two["p50"] == pytest.approx(0.0015) and two["p99"] == pytest.approx(0.00199)
    beyond = of(at(0, 0), at(1, 1, 0, 1, 2))
    assert beyond["p50"] == pytest.approx(0.002) and beyond["p99"] == pytest.approx(0.002)
    assert of(at(0, 5, 1, 2, 3), at(2, 5, 1, 2, 3))["p50"] is None
    # The window: 10 s old is in, 11 s old is out.
    assert of(at(0, 0), at(5, 0), at(10, 0))["kept"] == 3
    assert of(at(0, 0), at(5, 0), at(11, 0))["kept"] == 2
    # A server that was started anew counts from 0 again.
    assert of(at(0, 100), at(2, 110), at(4, 6))["kept"] == 1


def test_labels_hide_nothing(modules):
    random = numpy.random.default_rng(11)
    points = random.uniform(20, 380, (12, 2)).tolist()
    labels = [f"{i + 1} some words" for i in range(12)]
    boxes = modules("draw", "placeLabels", points, labels, 400, 400)
    assert [box["text"].split(" ")[0] for box in boxes] == [str(i + 1) for i in range(12)]

    def apart(a, b):
        return (a["x"] >= b["x"] + b["width"] or b["x"] >= a["x"] + a["width"]
                or a["y"] >= b["y"] + b["height"] or b["y"] >= a["y"] + a["height"])

    assert all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(0 <= box["x"] and box["x"] + box["width"] <= 400 for box in boxes)
    # Where all stand in one place each still has its number.
    crowd = modules("draw", "placeLabels", [[200, 200]] * 12, labels, 400, 400)
    assert [box["text"].split(" ")[0] for box in crowd] == [str(i + 1) for i in range(12)]


def test_base64_is_openais(modules):
    values = numpy.float32([0, 1, -1.5, 3e-30, 0.1])
    text = base64.b64encode(values.astype("<f4").tobytes()).decode()
    found = modules.page.evaluate(
        f"async (text) => [...(await import({from_page('api')})).floatsOf(text)]", text)
    assert numpy.float32(found).tolist() == values.tolist()
