# In: WordNet's glosses, Linux's manual pages, a tokenizer. Out: texts of exact lengths and texts of
# mixed lengths, the same ones every time.
"""Texts to measure with. What they say matters little; that no two are equal, and how long they
are, matters much."""

import gzip
import itertools
import pathlib
import random
import re
import subprocess
import tempfile

import models  # noqa: F401  (it knows where tests/parity/ is)
import parity

MANUAL_PAGES = "manpages-dev"  # a Debian package; its pages in English
PASSAGE_CHARACTERS = (200, 2000)
MIXED_TOKENS = (5, 500)


# --- Paragraphs of manual pages

MACRO = re.compile(r"\.\s*([A-Za-z]+)\s*(.*)")
FONTS = {"B", "I", "BR", "RB", "IR", "RI", "BI", "IB", "SM", "SB"}
ESCAPES = [
    (re.compile(r"\\f(\[\w*\]|\(..|.)"), ""),
    (re.compile(r"\\s[+-]?\d"), ""),
    (re.compile(r"\\\*?\((lq|rq|dq|aq)"), '"'),
    (re.compile(r"\\\((en|em|hy|mi)"), "-"),
    (re.compile(r"\\\[[^\]]*\]|\\\*?\(..|\\[&|^/,:%]|\\c"), ""),
    (re.compile(r"\\[-~ 0]"), lambda found: "-" if found.group() == "\\-" else " "),
    (re.compile(r"\\e"), r"\\"),
]


def plain_line(line):
    for pattern, replacement in ESCAPES:
        line = pattern.sub(replacement, line)
    return line.replace('"', "").strip()


def paragraphs(page):
    """The running text of a manual page's source: no headings, tables, examples or comments."""
    words, verbatim = [], False
    for line in page.splitlines():
        found = MACRO.match(line)
        if line.startswith(("'", '.\\"', '\\"')) or line == ".":
            continue
        if not found:
            if not verbatim:
                words.append(plain_line(line))
            continue
        name, rest = found.groups()
        if name in ("nf", "EX", "TS"):
            verbatim = True
        elif name in ("fi", "EE", "TE"):
            verbatim = False
        elif name in FONTS and not verbatim:
            words.append(plain_line(rest.replace(" ", "") if len(name) == 2 else rest))
            continue
        if words and name not in ("ad", "na", "nh", "hy"):
            yield " ".join(" ".join(words).split())
            words = []
    if words:
        yield " ".join(" ".join(words).split())


def passages(some, random_length):
    """Paragraphs that follow one another, joined to a length that chance chooses."""
    joined, wanted = "", random_length.randint(*PASSAGE_CHARACTERS)
    for paragraph in some:
        joined = f"{joined} {paragraph}".strip()
        if len(joined) >= wanted:
            yield joined
            joined, wanted = "", random_length.randint(*PASSAGE_CHARACTERS)


def fetch_manual_pages(folder):
    """Unpacked, because images of containers install packages without their manual pages."""
    with tempfile.TemporaryDirectory() as down:
        get = ["apt-get", "download", "-q", MANUAL_PAGES]
        subprocess.run(get, cwd=down, check=True, capture_output=True, timeout=600)
        package = next(pathlib.Path(down).glob("*.deb"))
        unfinished = models.fresh_beside(folder)
        unfinished.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", package, unfinished], check=True, timeout=600)
        unfinished.rename(folder)


def manual_passages(folder):
    if not folder.exists():
        fetch_manual_pages(folder)
    random_length = random.Random(0)
    found = []
    for path in sorted(folder.rglob("*.gz")):
        if re.fullmatch(r"man[2-8]", path.parent.name):
            page = gzip.decompress(path.read_bytes()).decode(errors="replace")
            found += passages(paragraphs(page), random_length)
    return list(dict.fromkeys(found))


# --- What is measured


def exact(tokenizer, count, tokens, seed=0):
    """`count` different texts of exactly `tokens` tokens, special tokens included."""
    words = " ".join(parity.glosses(4000)).split(" ")
    place = random.Random(f"{seed} {count} {tokens}").randrange(len(words))
    texts = []
    for begin in itertools.count(place, 37):
        # Ever fewer words, until it fits: a text of one token too few or too many is passed over.
        for size in range(tokens, 0, -1):
            text = " ".join(words[(begin + i) % len(words)] for i in range(size))
            length = len(tokenizer.encode(text).ids)
            if length <= tokens:
                break
        if length == tokens and text not in texts:
            texts.append(text)
            if len(texts) == count:
                return texts
        if begin > place + 37 * 100 * (count + 10):
            raise ValueError(f"no {count} texts of {tokens} tokens were found")


def mixed(tokenizer, count, pages, seed=0):
    """Glosses and paragraphs in turn, of 5 to 500 tokens, in an order that means nothing."""
    fits = []
    glosses = parity.glosses(count * 2)
    chosen = random.Random(seed).sample(pages, min(len(pages), count * 2))
    for kind in (glosses, chosen):
        shortest, longest = MIXED_TOKENS
        good = [text for text in kind if shortest <= len(tokenizer.encode(text).ids) <= longest]
        if len(good) < count // 2:
            raise ValueError(f"{len(good)} texts of 5 to 500 tokens were found")
        fits += good[: count // 2]
    random.Random(seed).shuffle(fits)
    return fits
