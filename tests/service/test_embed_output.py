# In: good texts in every way that embed takes them. Out: jsonl, npy and csv, in order.
import json
import random

import numpy
import pytest
from command_line import assert_unit, jsonl, lines_of, run

TEXTS = ["first text", "a second, longer text", "third"]


def test_arguments_give_a_line_each():
    answer = run("embed", *TEXTS)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.lines()
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [set(line) for line in lines] == [{"index", "tokens", "truncated", "embedding"}] * 3
    # [CLS] first text [SEP]; [CLS] a second , longer text [SEP]; [CLS] third [SEP]
    assert [line["tokens"] for line in lines] == [4, 7, 3]
    assert not any(line["truncated"] for line in lines)
    assert answer.vectors().shape == (3, 384)
    assert_unit(answer.vectors())


@pytest.mark.parametrize("text", ["[a,b]", "[]", "{}", "%%", "", "info", "embed", "-", "=x", "@x"])
def test_an_argument_is_one_text_whatever_it_looks_like(text):
    given = run("embed", "--input", "-", given=lines_of([text]))
    answer = run("embed", text)
    assert answer.code == 0, answer.err
    assert answer.lines() == given.lines()
    assert len(answer.lines()) == 1


def test_arguments_after_two_dashes_are_texts():
    answer = run("embed", "plain", "--", "--format", "-5", "--", "[a, b]")
    assert answer.code == 0, answer.err
    assert len(answer.lines()) == 5


def test_every_way_of_input_gives_the_same_lines(tmp_path):
    text_file = tmp_path / "texts.txt"
    text_file.write_bytes(lines_of(TEXTS))
    windows_file = tmp_path / "windows.txt"
    windows_file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(TEXTS).encode())
    json_file = tmp_path / "texts.jsonl"
    json_file.write_bytes(jsonl(*({"text": text, "id": 7} for text in TEXTS)))
    fields = jsonl(*({"body": text, "text": 3} for text in TEXTS))
    answers = [
        run("embed", *TEXTS),
        run("embed", "--input", text_file),
        run("embed", "--input", windows_file),
        run("embed", "--input", json_file),
        run("embed", "--input", "-", given=lines_of(TEXTS)),
        run("embed", given=lines_of(TEXTS)[:-1]),
        run("embed", "--field", "body", given=fields),
        run("embed", "--input-format", "jsonl", given=json_file.read_bytes()),
    ]
    for answer in answers:
        assert (answer.code, answer.err) == (0, "")
        assert answer.out == answers[0].out


def test_json_escapes_are_decoded():
    text = 'quote " backslash \\ tab \t umlaut \u00fc emoji \U0001f600'
    plain = run("embed", text)
    escaped = run("embed", "--field", "text", given=jsonl({"text": text}))
    assert b"\\ud83d\\ude00" in jsonl({"text": text})
    assert plain.out == escaped.out


def test_an_empty_line_is_an_empty_text():
    answer = run("embed", given=b"one\n\nthree\n\n")
    assert answer.code == 0
    assert [line["index"] for line in answer.lines()] == [0, 1, 2, 3]
    assert [line["tokens"] for line in answer.lines()] == [3, 2, 3, 2]  # [CLS] [SEP] alone: 2
    assert_unit(answer.vectors())


def test_no_input_is_no_output(tmp_path):
    answer = run("embed", given=b"")
    assert (answer.code, answer.out, answer.err) == (0, b"", "")
    output = tmp_path / "none.npy"
    assert run("embed", "--output", output, given=b"").code == 0
    assert numpy.load(output).shape == (0, 384)


def test_npy_and_csv_hold_the_same_vectors_as_jsonl(tmp_path):
    expected = run("embed", *TEXTS).vectors()
    npy, csv, named = tmp_path / "a.npy", tmp_path / "a.csv", tmp_path / "a.data"
    for arguments in [["-o", npy], ["-o", csv], ["-o", named, "--format", "npy"]]:
        answer = run("embed", *TEXTS, *arguments)
        assert (answer.code, answer.out, answer.err) == (0, b"", "")
    array = numpy.load(npy)
    assert array.dtype == numpy.dtype("<f4") and array.flags.c_contiguous
    numpy.testing.assert_array_equal(array, expected)
    numpy.testing.assert_array_equal(numpy.load(named), expected)
    rows = numpy.loadtxt(csv, delimiter=",", dtype=numpy.float32)
    numpy.testing.assert_array_equal(rows, expected)


def test_npy_goes_to_standard_output_when_that_is_a_file(tmp_path):
    path = tmp_path / "redirected"
    with open(path, "wb") as file:
        assert run("embed", *TEXTS, "--format", "npy", stdout=file).code == 0
    assert numpy.load(path).shape == (3, 384)


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_jsonl_goes_behind_what_a_redirected_file_holds(tmp_path, mode):
    path = tmp_path / "redirected"
    with open(path, mode) as file:
        file.write(b"before\n")
        file.flush()
        assert run("embed", "x", stdout=file).code == 0
    head, tail = path.read_bytes().split(b"\n", 1)
    assert head == b"before" and json.loads(tail)["index"] == 0


def test_output_replaces_an_older_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 100_000)
    assert run("embed", "one", "--output", path).code == 0
    assert path.read_bytes() == run("embed", "one").out


def test_order_is_kept_with_mixed_lengths():
    generator = random.Random(7)
    words = "the quick brown fox jumps over a lazy dog while seven wizards watch".split()
    lengths = list(range(1, 201, 5)) + [1] * 20 + [300]
    generator.shuffle(lengths)
    texts = [" ".join(generator.choices(words, k=length)) for length in lengths]
    answer = run("embed", given=lines_of(texts))
    assert answer.code == 0
    assert [line["index"] for line in answer.lines()] == list(range(len(texts)))
    # Every word is one token.
    assert [line["tokens"] for line in answer.lines()] == [min(n + 2, 256) for n in lengths]
    some = generator.sample(range(len(texts)), 6)
    for index in some:
        alone = run("embed", texts[index]).vectors()[0]
        numpy.testing.assert_allclose(answer.vectors()[index], alone, atol=1e-6)


def test_numbers_read_back_to_the_same_floats(tmp_path):
    npy = tmp_path / "a.npy"
    assert run("embed", *TEXTS, "--output", npy).code == 0
    for line, row in zip(run("embed", *TEXTS).lines(), numpy.load(npy)):
        read_back = numpy.array([numpy.float32(value) for value in line["embedding"]])
        numpy.testing.assert_array_equal(read_back, row)
    # The shortest decimal form of a float32 has nine digits at most.
    digits = [len(str(value).split("e")[0].replace("0.", "").strip("-0.")) for value in line["embedding"]]
    assert max(digits) <= 9


def test_dimensions_and_no_normalize():
    whole = run("embed", *TEXTS).vectors()
    cut = run("embed", *TEXTS, "--dimensions", "128").vectors()
    expected = whole[:, :128] / numpy.linalg.norm(whole[:, :128], axis=1, keepdims=True)
    numpy.testing.assert_allclose(cut, expected, atol=1e-6)
    raw = run("embed", *TEXTS, "--no-normalize").vectors()
    norms = numpy.linalg.norm(raw, axis=1, keepdims=True)
    assert numpy.all(numpy.abs(norms - 1) > 1e-3)
    numpy.testing.assert_allclose(raw / norms, whole, atol=1e-6)


def test_skip_leaves_out_the_first_texts():
    whole = run("embed", given=lines_of(TEXTS)).lines()
    rest = run("embed", "--skip", "2", given=lines_of(TEXTS)).lines()
    assert [line["index"] for line in rest] == [2]
    numpy.testing.assert_allclose(rest[0]["embedding"], whole[2]["embedding"], atol=1e-6)
    assert run("embed", "--skip", "3", given=lines_of(TEXTS)).out == b""


def test_prompts_and_roles_go_before_the_text(tiny):
    def vectors(*arguments):
        answer = run("embed", *arguments, model=tiny)
        assert answer.code == 0, answer.err
        return answer.vectors()

    plain = vectors("rain")
    query = vectors("search for: rain")
    assert numpy.abs(plain - query).max() > 1e-3
    numpy.testing.assert_array_equal(vectors("rain", "--role", "query"), query)
    numpy.testing.assert_array_equal(vectors("rain", "--prompt", "query"), query)
    document = vectors("stored: rain")
    numpy.testing.assert_array_equal(vectors("rain", "--role", "document"), document)


@pytest.mark.parametrize("pooling", ["cls", "last-token", "max", "mean-sqrt-len"])
def test_pooling_changes_the_vector(tiny, pooling):
    own = run("embed", "some rain falls", "--no-normalize", model=tiny).vectors()
    other = run(
        "embed", "some rain falls", "--no-normalize", "--pooling", pooling, model=tiny
    ).vectors()
    assert numpy.abs(own - other).max() > 1e-3
    mean = run("embed", "some rain falls", "--no-normalize", "--pooling", "mean", model=tiny)
    numpy.testing.assert_array_equal(own, mean.vectors())
    if pooling == "mean-sqrt-len":  # [CLS] some rain falls [SEP]
        numpy.testing.assert_allclose(other, own * numpy.sqrt(5), atol=1e-5)
