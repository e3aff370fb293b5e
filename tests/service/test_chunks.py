# Goal: with --too-long chunk, a text of any length has one vector, and says where its parts are.
import io

import numpy
import pytest

from command_line import assert_refused, assert_unit, jsonl, lines_of, run

LIMIT = 64  # tokens of the tiny model, [CLS] and [SEP] included
ROOM = LIMIT - 2
CHUNK = ("--too-long", "chunk")


def words(count):
    """Each a token of its own, none like its neighbours."""
    known = "sea house small cat dog tree red green blue river stone light".split()
    return [known[i * 5 % 12 if i % 13 else 7] for i in range(count)]


def test_lines_around_the_limit(tiny):
    texts = [" ".join(words(count)) for count in (ROOM - 1, ROOM, ROOM + 1)]
    answer = run("embed", *texts, *CHUNK, "--chunk-overlap", 10, model=tiny)
    assert answer.code == 0, answer.err
    lines = answer.lines()
    assert [list(line) for line in lines] == [
        ["index", "tokens", "truncated", "chunks", "embedding"]
    ] * 3
    assert [line["tokens"] for line in lines] == [LIMIT - 1, LIMIT, LIMIT + 1]
    assert not any(line["truncated"] for line in lines)
    whole = [{"begin": 0, "end": len(text), "tokens": len(text.split())} for text in texts]
    assert [line["chunks"] for line in lines[:2]] == [[whole[0]], [whole[1]]]
    begin = len(" ".join(words(ROOM - 10))) + 1
    last = {"begin": begin, "end": len(texts[2]), "tokens": 11}
    end = texts[2].rindex(" ") + 1
    assert lines[2]["chunks"] == [{"begin": 0, "end": end, "tokens": ROOM}, last]
    assert_unit(answer.vectors())

    plain = run("embed", *texts, model=tiny)
    assert all("chunks" not in line for line in plain.lines())
    assert [line["embedding"] for line in plain.lines()[:2]] == [
        line["embedding"] for line in lines[:2]
    ]


def test_the_vector_is_the_mean_of_the_parts_as_texts(tiny):
    text = " ".join(words(150))
    options = ("--chunk-tokens", 40, "--chunk-overlap", 8)
    answer = run("embed", text, *CHUNK, *options, model=tiny)
    chunks = answer.lines()[0]["chunks"]
    assert [chunk["tokens"] for chunk in chunks] == [38, 38, 38, 38, 30]
    parts = run("embed", *(text[chunk["begin"] : chunk["end"]] for chunk in chunks), model=tiny)
    mean = numpy.average(
        parts.vectors().astype(float), axis=0, weights=[chunk["tokens"] for chunk in chunks]
    )
    numpy.testing.assert_allclose(answer.vectors()[0], mean / numpy.linalg.norm(mean), atol=2e-6)


def test_bytes_are_those_of_the_text_without_its_prompt(tiny):
    text = "caf\u00e9 \u6d77 \U0001f600 " * 60
    answer = run("embed", text, *CHUNK, "--role", "query", model=tiny)
    chunks = answer.lines()[0]["chunks"]
    assert len(chunks) > 3
    data = text.encode()
    assert (chunks[0]["begin"], chunks[-1]["end"]) == (0, len(data))
    for chunk, behind in zip(chunks, chunks[1:]):
        assert behind["begin"] <= chunk["end"]
        assert data[chunk["begin"] : chunk["end"]].decode()


@pytest.mark.parametrize("form", ["npy", "csv"])
def test_other_formats_have_the_same_vectors(tiny, tmp_path, form):
    texts = [" ".join(words(count)) for count in (200, 3)]
    expected = run("embed", *texts, *CHUNK, model=tiny).vectors()
    output = tmp_path / f"vectors.{form}"
    answer = run("embed", *texts, *CHUNK, "--output", output, model=tiny)
    assert answer.code == 0, answer.err
    if form == "npy":
        vectors = numpy.load(output)
    else:
        vectors = numpy.loadtxt(io.StringIO(output.read_text()), delimiter=",", dtype="f4")
    numpy.testing.assert_array_equal(vectors, expected)


def test_too_many_parts_fail_one_text(tiny):
    """4,096 windows of one token are taken, 4,097 are not, and the neighbours have vectors."""
    texts = ["before", " ".join(words(4096)), " ".join(words(4097)), "after"]
    options = ("--chunk-tokens", 3, "--chunk-overlap", 0)
    answer = run("embed", *CHUNK, *options, model=tiny, given=lines_of(texts))
    assert answer.code == 2
    lines = answer.lines()
    assert ["error" in line for line in lines] == [False, False, True, False]
    assert len(lines[1]["chunks"]) == 4096
    assert lines[2]["error"]["code"] == "input_too_long"
    for number in ("4097", "4096"):
        assert number in lines[2]["error"]["message"]


def test_more_windows_than_the_queue_takes(tiny):
    """The queue has room for 4,096 texts; these are 30,000 windows, and one bad text among them."""
    long = " ".join(words(100))
    texts = [{"text": f"{long} {index}"} for index in range(300)]
    texts[200] = {"text": 7}
    options = ("--chunk-tokens", 4, "--chunk-overlap", 1, "--input-format", "jsonl")
    answer = run("embed", *CHUNK, *options, model=tiny, given=jsonl(*texts))
    assert answer.code == 2
    lines = answer.lines()
    assert [line["index"] for line in lines] == list(range(300))
    assert [index for index, line in enumerate(lines) if "error" in line] == [200]
    assert all(len(line["chunks"]) >= 100 for line in lines if "error" not in line)


def test_tokenize_gives_all_ids(tiny):
    text = " ".join(words(100))
    ids = run("tokenize", text, *CHUNK, model=tiny).lines()[0]["ids"]
    assert len(ids) == 102
    assert run("tokenize", text, model=tiny).lines()[0]["ids"] == [*ids[:63], ids[-1]]


def test_a_prompt_that_fills_the_window_is_refused(own_tiny):
    config = '{"prompts": {"query": "' + "sea " * ROOM + '"}}'
    (own_tiny / "config_sentence_transformers.json").write_text(config)
    answer = run("embed", "x", *CHUNK, "--role", "query", model=own_tiny)
    assert_refused(answer, 2, "64", "65")
