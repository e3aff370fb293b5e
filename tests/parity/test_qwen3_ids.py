# Goal: the ids of 20,000 lines in more than 12 scripts are those of Python's tokenizer, with
# Qwen3's own vocabulary. Method: tests/data/texts/sources.txt names the lines; the model around the
# tokenizer is tiny, because only its ids count.
import dataclasses
import functools
import gzip
import random
import sys
import unicodedata

import make_qwen3
import numpy as np
import parity
import pytest

SOURCES = parity.ROOT / "tests" / "data" / "texts" / "sources.txt"
LINES_MIN = 20_000
SCRIPTS_MIN = 12
WORDS_MAX = 8
LETTERS_MAX = 9
ASCII = "0123456789 .,:;!?'\"()<>|-_/\\\t\nthe"
IN_PLACE = 0.05  # of a source's lines hold each of its scripts


# --- Lines


@dataclasses.dataclass(frozen=True)
class Source:
    kind: str
    name: str
    lines: int
    scripts: tuple
    ranges: str


def read_sources():
    for line in SOURCES.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            kind, name, lines, scripts, ranges = [*line.split(), ""][:5]
            scripts = tuple(scripts.split(",")) if scripts != "-" else ()
            yield Source(kind, name, int(lines), scripts, ranges)


def manual_lines(package):
    folder = parity.cache_folder() / "test-texts" / package
    pages = sorted(parity.existing(folder, "run scripts/setup --tests").rglob("*.gz"))
    for page in pages:
        yield from gzip.decompress(page.read_bytes()).decode().splitlines()


def characters(ranges):
    found = []
    for part in ranges.split(","):
        first, *last = part.split("-")
        codes = range(int(first, 16), int((last or [first])[0], 16) + 1)
        found += [
            chr(code) for code in codes if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")
        ]
    return found


def random_line(letters, numbers):
    words = []
    for _ in range(numbers.randint(1, WORDS_MAX)):
        words += numbers.choices(letters, k=numbers.randint(1, LETTERS_MAX))
        words += numbers.choices(ASCII, k=numbers.choice((0, 1, 1, 1, 2, 5)))
    return "".join(words)


def lines_of(source):
    if source.kind == "glosses":
        return parity.glosses(source.lines)
    numbers = random.Random(source.name)
    if source.kind == "random":
        letters = characters(source.ranges)
        return [random_line(letters, numbers) for _ in range(source.lines)]
    assert source.kind == "manpages", source
    lines = list(dict.fromkeys(line for line in manual_lines(source.name) if not line.isascii()))
    return numbers.sample(lines, source.lines)  # fails when there are fewer


@functools.cache
def script_of(character):
    is_letter = unicodedata.category(character).startswith("L")
    return unicodedata.name(character, " ").split(" ")[0] if is_letter else ""


def lines_holding(script, lines):
    return sum(any(script_of(character) == script for character in line) for line in lines)


def sources_here():
    missing = {"manpages"} if sys.platform == "darwin" else set()
    return [source for source in read_sources() if source.kind not in missing]


@pytest.fixture(scope="module")
def lines():
    return {source: lines_of(source) for source in sources_here()}


def test_the_list_is_long_enough():
    assert sum(source.lines for source in read_sources()) >= LINES_MIN
    assert len({script for source in read_sources() for script in source.scripts}) >= SCRIPTS_MIN


def test_lines_are_in_the_scripts_that_the_list_says(lines):
    for source, some in lines.items():
        assert len(some) == source.lines
        for script in source.scripts:
            assert lines_holding(script, some) >= IN_PLACE * len(some), (source.name, script)


# --- Ids


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A Qwen3 of the real vocabulary, whose every other size is as small as can be."""
    tokenizer = parity.onnx_model("qwen3-tokenizer")
    folder = tmp_path_factory.mktemp("qwen3-ids") / "model"
    sizes = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 16,
    }
    make_qwen3.make_model(tokenizer, folder, layers=1, sizes=sizes)
    return folder


@pytest.fixture(scope="module")
def tokenizer(model):
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))


def test_ids(model, tokenizer, lines):
    some = [line for part in lines.values() for line in part]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(some)]
    parity.assert_same_ids(parity.tokenize(model, some), expected, some)


def test_special_tokens_in_a_text(model, tokenizer):
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    assert len(added) == 26 and {"<|endoftext|>", "<tool_call>", "</think>"} <= set(added)
    forms = ("{}", "a{}b", " {} ", "{0}{0}", "{}\n", "<{}>", "A\u0301{}\u0301")
    some = [form.format(token) for token in added for form in forms]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(some)]
    assert all(ids[-1] == 151643 for ids in expected)
    parity.assert_same_ids(parity.tokenize(model, some), expected, some)


def test_a_folder_with_the_published_tokenizer_runs(model):
    vectors = parity.embed(model, ["a vector", "another"], "--role", "query")
    assert vectors.shape == (2, 16) and np.abs(vectors[0] - vectors[1]).max() > 0.01
