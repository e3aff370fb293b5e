# In: texts and options that are wrong, or just within a limit.
# Goal: each is refused with its value and the limit, and the texts beside it get their vectors.
import json
import os
import pathlib
import re

import numpy
import pytest
import tokenizers
from command_line import MINILM, assert_refused, assert_unit, jsonl, lines_of, limit_file_size, run
from tiny_folder import HIDDEN, PROMPTS, TOKENS_MAX

TEXT_BYTES_MAX = 1_048_576
JSON_LINE_BYTES_MAX = 8 * TEXT_BYTES_MAX
GOOD = b"good"

BAD_UTF8 = [
    b"\xff",
    b"ab\xc3",  # ends within a character
    b"ab\xc3(",
    b"\xc0\xaf",  # "/" in two bytes
    b"x\xed\xa0\x80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80",  # above the last code point
    b"a\x80",
    b"\xef\xbb\xbf\xfe",
]


@pytest.fixture(scope="module")
def good_vector(tiny):
    return run("embed", GOOD.decode(), model=tiny).vectors()[0]


@pytest.fixture(scope="module")
def reference():
    """The tokenizer of both models, by the Python library."""
    tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(MINILM) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def words(reference):
    """More words than either model takes, a token each."""
    plain = re.compile("[a-z]{4,}")
    found = [word for word in sorted(reference.get_vocab()) if plain.fullmatch(word)][:300]
    assert len(reference.encode(" ".join(found)).ids) == 302
    return found


def first_bad_byte(text):
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError(f"{text!r} is UTF-8")


def between_good_ones(texts):
    """good, bad, good, bad, ..., good"""
    return [GOOD] + [item for text in texts for item in (text, GOOD)]


def assert_only_odd_lines_are_bad(answer, good_vector, code="invalid_argument"):
    """Gives the messages of the bad texts."""
    assert answer.code == 2
    lines = answer.lines()
    assert [line["index"] for line in lines] == list(range(len(lines)))
    messages = []
    for line in lines:
        if line["index"] % 2 == 0:
            numpy.testing.assert_allclose(line["embedding"], good_vector, atol=1e-6)
            continue
        assert set(line) == {"index", "error"}
        assert line["error"]["code"] == code
        messages.append(line["error"]["message"])
        place = rf"text {line['index']}( \(line {line['index'] + 1}\))?: "
        assert re.search(place + re.escape(messages[-1]), answer.err)
    return messages


# --- Texts that are no text


@pytest.mark.parametrize("way", ["arguments", "file"])
def test_invalid_utf8_is_refused_at_its_first_byte(tiny, tmp_path, good_vector, way):
    texts = between_good_ones(BAD_UTF8)
    if way == "arguments":
        answer = run("embed", *map(os.fsdecode, texts), model=tiny)
    else:
        file = tmp_path / "texts.txt"
        file.write_bytes(b"".join(text + b"\n" for text in texts))
        answer = run("embed", "--input", file, model=tiny)
    messages = assert_only_odd_lines_are_bad(answer, good_vector)
    assert len(messages) == len(BAD_UTF8)
    for message, text in zip(messages, BAD_UTF8):
        assert "UTF-8" in message
        assert message.endswith(f"byte {first_bad_byte(text)}")


def test_invalid_utf8_in_json_is_refused_near_its_first_byte(tiny, good_vector):
    start = b'{"text":"'
    texts = between_good_ones(BAD_UTF8)
    given = b"".join(start + text + b'"}\n' for text in texts)
    answer = run("embed", "--field", "text", given=given, model=tiny)
    messages = assert_only_odd_lines_are_bad(answer, good_vector)
    assert len(messages) == len(BAD_UTF8)
    for message, text in zip(messages, BAD_UTF8):
        byte = int(re.search(r"at byte (\d+)", message)[1])
        # The parser stops somewhere within the character.
        assert 0 <= byte - len(start) - first_bad_byte(text) <= 3


def test_the_byte_is_counted_in_the_text_and_not_in_its_prompt(tiny):
    answer = run("embed", os.fsdecode(b"ab\xff"), "--role", "query", model=tiny)
    assert answer.code == 2
    assert answer.lines()[0]["error"]["message"].endswith("byte 2")


def test_an_error_line_is_json_whatever_the_field_is_called(tiny):
    answer = run("embed", "--field", os.fsdecode(b"\xff"), given=jsonl({}), model=tiny)
    assert answer.code == 2
    json.loads(answer.out.decode())


BAD_JSON = [
    (r'{"text":"\ud800"}', "byte"),
    (r'{"text":"\udc00"}', "byte"),
    (r'{"text":"\udc00\ud800"}', "byte"),
    (r'{"text":"\ud800x"}', "byte"),
    (r'{"text":"\u12"}', "byte"),
    (r'{"text":"\x"}', "byte"),
    ('{"text":"tab\tinside"}', "byte"),
    ('{"other":"text"}', 'field "text" is missing'),
    ('{"text":null}', 'field "text"'),
    ('{"text":3}', 'field "text" is not a string'),
    ('{"text":["text"]}', 'field "text" is not a string'),
    ('{"Text":"text"}', 'field "text" is missing'),
    ('["text"]', 'field "text"'),
    ('"text"', 'field "text"'),
    ("7", 'field "text"'),
    ("text", "byte 0"),
    ("", "byte 0"),
    ("{", "byte 1"),
    ('{"text":"text"', "byte 14"),
    ('{"text":"text",}', "byte 15"),
    ('{"text":"one"}{"text":"two"}', "byte 14"),
    ('{"text":"one"} {"text":"two"}', "byte 15"),
    ("[" * 100_000, "32 levels deep"),
    ('{"text":' * 50_000, "32 levels deep"),
    ('{"text":"text","more":' + "[" * 100_000 + "]" * 100_000 + "}", "32 levels deep"),
    ('{"text":"text","more":1e999}', "1e999"),
]


def test_lines_that_hold_no_text_fail_alone(tiny, good_vector):
    texts = between_good_ones([line.encode() for line, _ in BAD_JSON])
    lines = [jsonl({"text": "good"}).strip() if text == GOOD else text for text in texts]
    answer = run("embed", "--field", "text", given=b"\n".join(lines) + b"\n", model=tiny)
    messages = assert_only_odd_lines_are_bad(answer, good_vector)
    assert len(messages) == len(BAD_JSON)
    for message, (_, word) in zip(messages, BAD_JSON):
        assert word in message


def test_json_may_be_32_levels_deep(tiny):
    def nested(levels):
        return '{"text":"good","more":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"

    given = "".join(nested(levels) + "\n" for levels in (31, 32, 33)).encode()
    answer = run("embed", "--field", "text", given=given, model=tiny)
    assert answer.code == 2
    assert ["error" in line for line in answer.lines()] == [False, False, True]
    message = answer.lines()[2]["error"]["message"]
    assert "deep" in message
    # Byte 53 is where it is too deep; the limit itself must be said, too.
    assert re.search(r"\b32\b", message), message


def test_a_field_that_is_not_there_is_named(tiny):
    answer = run("embed", "--field", "body", given=jsonl({"text": "a"}), model=tiny)
    assert answer.code == 2
    assert answer.lines()[0]["error"]["message"] == 'field "body" is missing'


def test_a_zero_byte_is_part_of_its_text(tiny, reference):
    answers = [
        run("tokenize", "--field", "text", given=jsonl({"text": "ab\0cd"}), model=tiny),
        run("tokenize", given=b"ab\0cd\n", model=tiny),
    ]
    ids = reference.encode("ab\0cd").ids
    assert ids != reference.encode("ab").ids
    for answer in answers:
        assert answer.code == 0, answer.err
        assert answer.lines() == [{"index": 0, "ids": ids}]
    whole = run("embed", given=b"ab\0cd\n", model=tiny)
    assert whole.code == 0 and len(whole.lines()) == 1
    cut = run("embed", "ab", model=tiny)
    assert numpy.abs(whole.vectors() - cut.vectors()).max() > 1e-3


def test_an_empty_text_has_a_vector(tiny):
    answers = [
        run("embed", "", model=tiny),
        run("embed", "--field", "text", given=jsonl({"text": ""}), model=tiny),
        run("embed", given=b"\n", model=tiny),
    ]
    for answer in answers:
        assert (answer.code, answer.err) == (0, "")
        assert answer.lines()[0]["tokens"] == 2  # [CLS] [SEP]
        assert answer.out == answers[0].out
    assert_unit(answers[0].vectors())


# --- Texts that are large, long or many


def padded(size):
    """A text of `size` bytes and the same tokens as GOOD: blanks are none."""
    return GOOD + b" " * (size - len(GOOD))


def test_a_text_has_at_most_a_mebibyte(tiny, good_vector):
    sizes = [TEXT_BYTES_MAX - 1, TEXT_BYTES_MAX + 1, TEXT_BYTES_MAX, 10 << 20, TEXT_BYTES_MAX]
    given = b"".join(padded(size) + b"\n" for size in sizes)
    messages = assert_only_odd_lines_are_bad(run("embed", given=given, model=tiny), good_vector)
    assert messages == [
        f"text of {size} bytes; the limit is {TEXT_BYTES_MAX} bytes" for size in sizes[1::2]
    ]


def test_the_return_of_a_windows_line_is_not_counted(tiny, good_vector):
    sizes = [TEXT_BYTES_MAX, TEXT_BYTES_MAX + 1, TEXT_BYTES_MAX]
    given = b"".join(padded(size) + b"\r\n" for size in sizes)
    messages = assert_only_odd_lines_are_bad(run("embed", given=given, model=tiny), good_vector)
    assert messages == [f"text of {sizes[1]} bytes; the limit is {TEXT_BYTES_MAX} bytes"]


def test_a_text_in_json_has_at_most_a_mebibyte(tiny, good_vector):
    sizes = [TEXT_BYTES_MAX - 1, TEXT_BYTES_MAX + 1, TEXT_BYTES_MAX]
    given = jsonl(*({"text": padded(size).decode()} for size in sizes))
    answer = run("embed", "--field", "text", given=given, model=tiny)
    messages = assert_only_odd_lines_are_bad(answer, good_vector)
    assert len(messages) == 1
    assert str(sizes[1]) in messages[0] and str(TEXT_BYTES_MAX) in messages[0]


def test_a_line_of_json_has_at_most_eight_mebibytes(tiny, good_vector):
    def line(size):
        begin, end = b'{"text":"good","more":"', b'"}'
        return begin + b"x" * (size - len(begin) - len(end)) + end + b"\n"

    sizes = [
        JSON_LINE_BYTES_MAX - 1,
        JSON_LINE_BYTES_MAX + 1,
        JSON_LINE_BYTES_MAX,
        10 << 20,
        JSON_LINE_BYTES_MAX,
    ]
    answer = run("embed", "--field", "text", given=b"".join(map(line, sizes)), model=tiny)
    assert assert_only_odd_lines_are_bad(answer, good_vector) == [
        f"line of {size} bytes; the limit is {JSON_LINE_BYTES_MAX} bytes" for size in sizes[1::2]
    ]


def test_the_prompt_counts_as_text(tiny):
    room = TEXT_BYTES_MAX - len(PROMPTS["query"])
    given = padded(room) + b"\n" + padded(room + 1) + b"\n"
    answer = run("embed", "--prompt", "query", given=given, model=tiny)
    assert answer.code == 2
    assert ["error" in line for line in answer.lines()] == [False, True]
    message = answer.lines()[1]["error"]["message"]
    assert str(TEXT_BYTES_MAX + 1) in message and str(TEXT_BYTES_MAX) in message


def test_hundred_thousand_short_texts_come_out_in_order(tiny):
    some = ["good", "a longer text of some words", "", "third", "and one more, the fifth"]
    expected = run("embed", *some, model=tiny)
    count = 100_000
    answer = run("embed", given=lines_of(some * (count // len(some))), model=tiny)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.lines()
    assert [line["index"] for line in lines] == list(range(count))
    vectors = numpy.array([line["embedding"] for line in lines], dtype=numpy.float32)
    for index, row in enumerate(expected.vectors()):
        same = vectors[index :: len(some)]
        numpy.testing.assert_allclose(same, numpy.broadcast_to(row, same.shape), atol=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("model, limit", [("tiny", TOKENS_MAX), (MINILM, 256)])
def test_a_text_has_as_many_tokens_as_the_model_takes(tiny, words, reference, model, limit, side):
    folder = tiny if model == "tiny" else model
    counts = [limit - 1, limit, limit + 1]
    texts = [" ".join(words[: count - 2]) for count in counts]  # beside [CLS] and [SEP]
    options = ["--truncate-side", side]

    cut = words[: limit - 2] if side == "right" else words[1 : limit - 1]
    expected = [*texts[:2], " ".join(cut)]
    answer = run("tokenize", *texts, *options, model=folder)
    assert (answer.code, answer.err) == (0, "")
    ids = [line["ids"] for line in answer.lines()]
    assert ids == [reference.encode(text).ids for text in expected]

    truncated = run("embed", *texts, expected[2], *options, "--too-long", "truncate", model=folder)
    assert (truncated.code, truncated.err) == (0, "")
    assert [line["tokens"] for line in truncated.lines()] == [limit - 1, limit, limit, limit]
    assert [line["truncated"] for line in truncated.lines()] == [False, False, True, False]
    vectors = truncated.vectors()
    numpy.testing.assert_allclose(vectors[2], vectors[3], atol=1e-6)
    assert numpy.abs(vectors[2] - vectors[0]).max() > 1e-4

    refused = run("embed", *texts, "after", *options, "--too-long", "refuse", model=folder)
    assert refused.code == 2
    assert ["error" in line for line in refused.lines()] == [False, False, True, False]
    error = refused.lines()[2]["error"]
    assert error["code"] == "input_too_long"
    assert error["message"] == f"text of {limit + 1} tokens; the model takes {limit}"
    assert "text 2: " in refused.err


def test_many_bad_texts_do_not_fill_the_terminal(tiny):
    answer = run("embed", given=b"\xff\n" * 150 + b"good\n", model=tiny)
    assert answer.code == 2
    assert ["error" in line for line in answer.lines()] == [True] * 150 + [False]
    assert len(answer.err.splitlines()) == 101
    assert "50 more" in answer.err.splitlines()[-1]


# --- Formats that have no place for a text without a vector


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_npy_and_csv_end_at_a_bad_text(tiny, good_vector, tmp_path, ending):
    output = tmp_path / f"vectors.{ending}"
    answer = run("embed", "--output", output, given=b"good\ngood\n\xff\ngood\n", model=tiny)
    assert_refused(answer, 2, "text 2 (line 3): ", "byte 0", "jsonl", "--skip 2")
    rows = numpy.load(output) if ending == "npy" else numpy.loadtxt(output, delimiter=",")
    numpy.testing.assert_allclose(rows, [good_vector] * 2, atol=1e-6)


def test_npy_needs_a_file(tiny):
    assert_refused(run("embed", "x", "--format", "npy", model=tiny), 2, "npy", "standard output")


# --- Options


@pytest.mark.parametrize("dimensions", [1, 2, HIDDEN - 1, HIDDEN])
def test_dimensions_within_the_model(tiny, dimensions):
    answer = run("embed", "x", "--dimensions", dimensions, model=tiny)
    assert answer.code == 0
    assert answer.vectors().shape == (1, dimensions)
    assert_unit(answer.vectors())


# What is given, and what the message must say beside it.
BAD_OPTIONS = [
    (["--dimensions", "0"], ["dimensions is 0;", "1 to 32"]),
    (["--dimensions", "33"], ["dimensions is 33;", "1 to 32"]),
    (["--dimensions", "-1"], ["--dimensions", '"-1"', "whole number"]),
    (["--dimensions", "1.5"], ["--dimensions", '"1.5"', "whole number"]),
    (["--dimensions", "1e1"], ["--dimensions", '"1e1"', "whole number"]),
    (["--dimensions", ""], ["--dimensions", '""', "whole number"]),
    (["--dimensions", "18446744073709551615"], ["18446744073709551615", "1 to 32"]),
    (["--dimensions", "18446744073709551616"], ["--dimensions", '"18446744073709551616"']),
    (["--dimensions", "5", "--dimensions", "6"], ["--dimensions", "1", "2"]),
    (["--threads", "1025"], ["threads is 1025;", "0 to 1024"]),
    (["--threads", "-1"], ["--threads", '"-1"', "whole number"]),
    (["--threads", "4294967296"], ["--threads", '"4294967296"', "4294967295"]),
    (["--threads", "two"], ["--threads", '"two"', "whole number"]),
    (["--workers", "1025"], ["workers is 1025;", "0 to 1024"]),
    (["--batch-tokens", "1048577"], ["is 1048577;", "0 to 1048576"]),
    (["--batch-tokens", "-1"], ["--batch-tokens", '"-1"', "whole number"]),
    (["--skip", "-1"], ["--skip", '"-1"', "whole number"]),
    (["--model", ""], ["--model", "empty"]),
    (["--timeout", "0"], ["--timeout", "0.001", "100000000"]),
    (["--timeout", "-1"], ["--timeout", "-1", "0.001"]),
    (["--timeout", "1e9"], ["--timeout", "1e9", "100000000"]),
    (["--timeout", "nan"], ["--timeout", "nan", "0.001"]),
    (["--timeout", "soon"], ["--timeout", "soon"]),
    (["--prompt", "answer"], ['"answer"', "passage, query"]),
    (["--prompt", ""], ['""', "passage, query"]),
    (["--role", "query", "--prompt", "query"], ["role", "prompt", "one of"]),
    (["--instruction", "find"], ["instruction", "Instruct: "]),
    (["--instruction", "find", "--prompt", "query"], ["instruction", "prompt", "one of"]),
    (["--instruction", "find", "--role", "document"], ["instruction", "role"]),
    (["--role", "passage"], ["--role", "query|document", '"passage"']),
    (["--format", "json"], ["--format", "jsonl|npy|csv", '"json"']),
    (["--format"], ["--format", "missing"]),
    (["--too-long", "cut"], ["--too-long", "truncate|refuse|chunk", '"cut"']),
    (["--chunk-overlap", "1"], ["chunk_overlap", "chunk"]),
    (["--chunk-tokens", "20", "--too-long", "refuse"], ["chunk_tokens", "chunk"]),
    (["--too-long", "chunk", "--chunk-tokens", "65"], ["chunk_tokens", "65", "64"]),
    (["--too-long", "chunk", "--chunk-tokens", "2"], ["2", "at least 3"]),
    (["--too-long", "chunk", "--chunk-overlap", "62"], ["chunk_overlap", "62", "0 to 61"]),
    (["--too-long", "chunk", "--chunk-overlap", "-1"], ["--chunk-overlap", '"-1"']),
    (["--truncate-side", "both"], ["--truncate-side", "right|left", '"both"']),
    (["--pooling", "min"], ["--pooling", "cls|mean|last-token|max|mean-sqrt-len", '"min"']),
    (["--provider", "gpu"], ["--provider", "auto|cpu|coreml|webgpu|cuda|openvino|tensorrt|mlx", '"gpu"']),
    (["--precision", "f64"], ["--precision", "auto|f32|f16|int8", '"f64"']),
    (["--precision", "f16"], ["f16", "f32", "int8"]),
    (["--input-format", "csv"], ["--input-format", "txt|jsonl", '"csv"']),
    (["--dimension", "5"], ["--dimension"]),
    (["--input", "-"], ["TEXT", "--input"]),
    (["--field", "text"], ["--field", "TEXT"]),
]


@pytest.mark.parametrize("arguments, said", BAD_OPTIONS, ids=" ".join)
def test_a_bad_option_is_named_with_what_it_takes(tiny, arguments, said):
    assert_refused(run("embed", "x", *arguments, model=tiny), 2, *said)


@pytest.mark.parametrize(
    "option, value",
    [("--threads", 0), ("--threads", 3), ("--workers", 0), ("--workers", 3)]
    + [("--batch-tokens", 0), ("--batch-tokens", 1), ("--batch-tokens", 1048576)],
)
def test_options_within_their_limits(tiny, good_vector, option, value):
    answer = run("embed", "good", option, value, model=tiny)
    assert (answer.code, answer.err) == (0, "")
    numpy.testing.assert_allclose(answer.vectors(), [good_vector], atol=1e-6)


def test_the_limit_of_threads_is_allowed():
    # Looked at before the model, so that nobody has to start a thousand threads for it.
    answer = run("embed", "x", "--threads", 1024, model="no-such-model")
    assert_refused(answer, 3, "no-such-model")


@pytest.mark.parametrize("command", ["embedd", "em", "rerank", "--embed"])
def test_an_unknown_command_is_named(command):
    assert_refused(run(command, model=None), 2, command, "--help")


def test_no_command_is_a_mistake():
    assert_refused(run(model=None), 2, "--help")


def test_a_field_is_for_json(tmp_path):
    arguments = ["--input-format", "txt", "--field", "text"]
    assert_refused(run("embed", *arguments), 2, "--field", "--input-format", "txt")


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_an_input_that_cannot_be_read_is_named(tiny, tmp_path, command):
    missing = tmp_path / "missing.txt"
    answer = run(command, "--input", missing, model=tiny)
    assert_refused(answer, 2, missing, "No such file")
    assert_refused(run(command, "--input", tmp_path, model=tiny), 2, tmp_path, "folder")


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_an_output_that_cannot_be_written_is_named(tiny, tmp_path, command):
    below_nothing = tmp_path / "missing" / "vectors.jsonl"
    answer = run(command, "x", "--output", below_nothing, model=tiny)
    assert_refused(answer, 4, below_nothing, "No such file")
    answer = run(command, "x", "--output", tmp_path, model=tiny)
    assert_refused(answer, 4, tmp_path, "directory")


@pytest.mark.parametrize("command", ["embed", "tokenize"])
@pytest.mark.parametrize("way", ["the same", "a link", "another name", "standard input"])
def test_the_output_must_not_be_the_input(tiny, tmp_path, command, way):
    file, other = tmp_path / "texts.txt", tmp_path / "other.txt"
    file.write_bytes(b"good\n")
    output = file if way in ("the same", "standard input") else other
    if way == "a link":
        other.symlink_to(file)
    if way == "another name":
        other.hardlink_to(file)
    if way == "standard input":
        with open(file, "rb") as stream:
            answer = run(command, "--output", output, model=tiny, stdin=stream)
    else:
        answer = run(command, "--input", file, "--output", output, model=tiny)
    assert_refused(answer, 2, output, "input")
    assert file.read_bytes() == b"good\n"


def test_appending_to_the_input_does_not_go_on_for_ever(tiny, tmp_path):
    file = tmp_path / "texts.txt"
    given = lines_of(["good"] * 20_000)  # more than is read at once
    file.write_bytes(given)
    with open(file, "ab") as stream:
        # The limit only ends a run that would read its own output without end.
        limited = {"stdout": stream, "preexec_fn": limit_file_size(10 << 20)}
        answer = run("embed", "--input", file, model=tiny, **limited)
    assert_refused(answer, 2, "input")
    assert file.read_bytes() == given


@pytest.mark.parametrize(
    "arguments, code",
    [(["--dimensions", "33"], 2), (["--prompt", "no"], 2), (["--model", "no-such-model"], 3)],
)
def test_an_older_output_outlives_a_mistake(tiny, tmp_path, arguments, code):
    output = tmp_path / "vectors.jsonl"
    output.write_bytes(b"older\n")
    model = None if "--model" in arguments else tiny
    answer = run("embed", "x", "--output", output, *arguments, model=model)
    assert_refused(answer, code, arguments[1])
    assert output.read_bytes() == b"older\n"


def test_a_time_limit_that_has_passed_ends_the_run(tiny):
    answer = run("embed", "x", "--timeout", "0.001", model=tiny)
    assert_refused(answer, 5)
    assert re.search("deadline|time limit", answer.err)
    assert len(answer.err.splitlines()) == 1


def test_a_required_provider_that_is_not_there_is_an_error(tiny):
    answer = run("embed", "x", "--provider", "coreml", "--require-provider", model=tiny)
    assert_refused(answer, 4, "coreml", "cpu")
    assert run("embed", "x", "--provider", "cpu", "--require-provider", model=tiny).code == 0


def test_a_wanted_provider_that_is_not_there_is_a_note(tiny, good_vector):
    answer = run("embed", "good", "--provider", "coreml", model=tiny)
    assert answer.code == 0
    numpy.testing.assert_allclose(answer.vectors(), [good_vector], atol=1e-6)
    about = json.loads(run("info", "--json", "--provider", "coreml", model=tiny).out)
    assert (about["provider"]["wanted"], about["provider"]["used"]) == ("coreml", "cpu")
    assert "coreml" in about["provider"]["why"] and "cpu" in about["provider"]["why"]
