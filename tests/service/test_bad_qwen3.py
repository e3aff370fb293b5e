# In: Qwen3 folders that are damaged or incomplete, and texts and prompts beyond a limit.
# Goal: the tensor, the file or the limit is named; exit codes 2, 3 and 4; never a guess.
import json

import numpy
import pytest
import tiny_folder
from command_line import assert_refused, assert_unit, jsonl, run
from tiny_folder import write_json, write_safetensors
from tiny_qwen3 import END, HIDDEN, QUERY, TOKENS_MAX, VOCABULARY, tensors, write_tiny_qwen3

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WORDS = "embed_tokens.weight"
KEYS = "layers.0.self_attn.k_proj.weight"
TEXT_BYTES_MAX = 1 << 20


@pytest.fixture
def folder(tmp_path):
    """A Qwen3 that a test may damage."""
    return write_tiny_qwen3(tmp_path / "tiny-qwen3")


def edit(file, **changes):
    write_json(file, json.loads(file.read_text()) | changes)


def change_weights(folder, change):
    named = tensors()
    change(named)
    write_safetensors(folder / WEIGHTS, named)


def assert_bad_model(folder, *words, code=3, options=()):
    answer = run("embed", "x", *options, model=folder)
    assert_refused(answer, code, *words)
    assert answer.err.startswith("textvec: ") and len(answer.err.splitlines()) == 1, answer.err


def ids_of(folder, *arguments, **options):
    answer = run("tokenize", *arguments, model=folder, **options)
    assert answer.code == 0, answer.err
    return [line["ids"] for line in answer.lines()]


def test_the_folder_itself_runs(folder):
    answer = run("embed", "x", "--role", "query", "--check-weights", model=folder)
    assert answer.code == 0, answer.err
    assert_unit(answer.vectors())


# --- Weights


def test_a_missing_shard_is_named(folder):
    named = tensors()
    first = dict(list(named.items())[:4])
    files = {"model-00001-of-00002.safetensors": first}
    files["model-00002-of-00002.safetensors"] = {
        name: tensor for name, tensor in named.items() if name not in first
    }
    (folder / WEIGHTS).unlink()
    for file, some in files.items():
        write_safetensors(folder / file, some)
    weight_map = {name: file for file, some in files.items() for name in some}
    write_json(folder / INDEX, {"weight_map": weight_map})
    assert run("embed", "x", model=folder).code == 0
    for file in files:
        (folder / file).rename(folder / "elsewhere")
        assert_bad_model(folder, file)
        (folder / "elsewhere").rename(folder / file)
    # A shard that is another one than the index was written for.
    write_safetensors(folder / file, first)
    assert_bad_model(folder, file)


@pytest.mark.parametrize("name", tensors())
def test_a_missing_tensor_is_named(folder, name):
    change_weights(folder, lambda named: named.pop(name))
    assert_bad_model(folder, name)


@pytest.mark.parametrize("name", tensors())
def test_a_tensor_of_another_shape_is_named(folder, name):
    def cut(named):
        named[name] = numpy.ascontiguousarray(named[name][:-1])

    change_weights(folder, cut)
    wanted = list(tensors()[name].shape)
    assert_bad_model(folder, name, wanted, [wanted[0] - 1, *wanted[1:]])


@pytest.mark.parametrize(
    "key, value, tensor",
    [
        ("num_hidden_layers", 2, "layers.1."),
        ("num_attention_heads", 2, "layers.0.self_attn.q_proj.weight"),
        ("num_key_value_heads", 1, KEYS),
        ("head_dim", 32, "layers.0.self_attn.q_proj.weight"),
        ("intermediate_size", 65, "layers.0.mlp."),
        ("attention_bias", True, "layers.0.self_attn.q_proj.bias"),
        ("vocab_size", VOCABULARY + 1, WORDS),
    ],
)
def test_a_configuration_of_another_size_names_a_tensor(folder, key, value, tensor):
    edit(folder / CONFIG, **{key: value})
    assert_bad_model(folder, tensor)


def test_weights_of_another_architecture(folder):
    write_safetensors(folder / WEIGHTS, tiny_folder.tensors(VOCABULARY))
    assert_bad_model(folder, WORDS)


def test_a_configuration_of_another_architecture(folder):
    edit(folder / CONFIG, model_type="bert", type_vocab_size=2, hidden_act="gelu")
    assert_bad_model(folder, "embeddings.word_embeddings.weight")


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_check_weights_names_the_tensor_and_the_element(folder, value):
    def damage(named):
        named[KEYS][3, 5] = value

    change_weights(folder, damage)
    element = 3 * HIDDEN + 5
    words = [WEIGHTS, KEYS, f"element {element}"]
    assert_bad_model(folder, *words, options=["--check-weights"])


def test_without_check_weights_the_first_vector_is_an_error(folder):
    def damage(named):
        named[KEYS][3, 5] = numpy.nan

    change_weights(folder, damage)
    answer = run("embed", "x", "y", model=folder)
    assert answer.code == 4
    assert [line["error"]["code"] for line in answer.lines()] == ["non_finite", "non_finite"]
    assert "text 0: " in answer.err and "not a finite number" in answer.err
    assert b"nan" not in answer.out.lower()


def test_a_text_whose_token_is_no_number_fails_alone(folder):
    [[token, end]] = ids_of(folder, "x")
    assert end == END

    def damage(named):
        named[WORDS][token] = numpy.inf

    change_weights(folder, damage)
    answer = run("embed", "a", "ax", "b", model=folder)
    assert answer.code == 4
    assert ["embedding" in line for line in answer.lines()] == [True, False, True]
    assert "text 1: " in answer.err


def test_check_weights_does_not_look_into_an_onnx_file(folder):
    made = run("compile", "--target", "fused", "--output", folder / "onnx", model=folder)
    assert made.code == 0, made.err
    [graph] = (folder / "onnx").glob("*.onnx")
    graph.rename(folder / "onnx" / "model.onnx")
    answer = run("embed", "x", "--check-weights", model=folder / "onnx" / "model.onnx")
    assert_refused(answer, 2, "check_weights", "ONNX file", "not looked at")


# --- Tokenizer


@pytest.mark.parametrize("rows, code", [(VOCABULARY - 1, 3), (VOCABULARY, 0), (VOCABULARY + 9, 0)])
def test_ids_beyond_the_vocabulary(folder, rows, code):
    def resize(named):
        named[WORDS] = numpy.resize(named[WORDS], (rows, HIDDEN))

    change_weights(folder, resize)
    edit(folder / CONFIG, vocab_size=rows)
    if code == 0:
        assert run("embed", "x", model=folder).code == 0
    else:
        assert_bad_model(folder, "tokenizer.json", VOCABULARY - 1, CONFIG, "vocab_size", rows)


# --- Texts and prompts


def test_a_token_too_many(folder):
    texts = ["7" * (count - 1) for count in (TOKENS_MAX, TOKENS_MAX + 1)]  # a digit is a token
    whole = ids_of(folder, "--too-long", "chunk", *texts)
    assert [len(ids) for ids in whole] == [TOKENS_MAX, TOKENS_MAX + 1]

    answer = run("embed", "x", *texts, "--too-long", "truncate", model=folder)
    assert answer.code == 0, answer.err
    lines = answer.lines()
    assert [line["truncated"] for line in lines] == [False, False, True]
    # What the model sees of both is the same, its final token included.
    assert lines[1]["embedding"] == lines[2]["embedding"]

    answer = run("embed", "x", *texts, "--too-long", "refuse", model=folder)
    assert answer.code == 2
    assert ["embedding" in line for line in answer.lines()] == [True, True, False]
    error = answer.lines()[2]["error"]
    assert error["code"] == "input_too_long"
    assert str(TOKENS_MAX) in error["message"] and str(TOKENS_MAX + 1) in error["message"]


def test_the_prompt_counts(folder):
    room = TOKENS_MAX - len(ids_of(folder, QUERY)[0])
    assert room > 8
    options = ("--role", "query", "--too-long", "refuse")
    texts = ["7" * count for count in (room, room + 1)]
    lines = run("embed", *texts, *options, model=folder).lines()
    assert ["embedding" in line for line in lines] == [True, False]


# One argument of a process takes 128 KiB on Linux, so that a longer prompt comes out of a file.
@pytest.mark.parametrize("prompt", ["query", "long"])
def test_a_prompt_of_a_mebibyte(folder, prompt):
    end = "\nQuery:"
    text = "Instruct: ".ljust(TEXT_BYTES_MAX - len(end), "x") + end
    write_json(folder / "config_sentence_transformers.json", {"prompts": {prompt: text}})
    option = ["--role", "query"] if prompt == "query" else ["--prompt", prompt]
    answer = run("embed", "x", *option, model=folder)
    assert answer.code == 2
    assert "embedding" not in answer.lines()[0]
    message = answer.lines()[0]["error"]["message"]
    assert f"{TEXT_BYTES_MAX + 1} bytes with its prompt" in message
    assert f"the limit is {TEXT_BYTES_MAX}" in message
    assert run("embed", "x", model=folder).code == 0


def test_a_long_instruction_leaves_less_room_for_a_text(folder):
    instruction = "y" * 131_000
    prompt_bytes = len(f"Instruct: {instruction}\nQuery:")
    texts = ["x" * (TEXT_BYTES_MAX - prompt_bytes + more) for more in (0, 1)]
    given = jsonl(*({"text": text} for text in texts))
    arguments = ("--field", "text", "--instruction", instruction)
    answer = run("embed", *arguments, given=given, model=folder)
    assert answer.code == 2
    fits, too_long = answer.lines()
    assert fits["truncated"] and len(fits["embedding"]) == HIDDEN
    assert f"{TEXT_BYTES_MAX + 1} bytes with its prompt" in too_long["error"]["message"]
    assert str(TEXT_BYTES_MAX) in too_long["error"]["message"]


def test_prompts_of_no_bytes(folder):
    file = folder / "config_sentence_transformers.json"
    write_json(file, {"prompts": {"query": "", "": "named nothing: "}})
    plain = run("embed", "x", "", model=folder)
    assert plain.code == 0
    for option in (["--role", "query"], ["--role", "document"], ["--prompt", "query"]):
        assert run("embed", "x", "", *option, model=folder).out == plain.out
    # A prompt without its form takes no instruction, and a name without letters is a name.
    assert_refused(run("embed", "x", "--instruction", "", model=folder), 2, "instruction", "Query:")
    named = ids_of(folder, "named nothing: x")
    assert ids_of(folder, "x", "--prompt", "") == named


def test_an_empty_instruction_is_one(folder):
    expected = ids_of(folder, "Instruct: \nQuery:x")
    assert ids_of(folder, "x", "--instruction", "") == expected


@pytest.mark.parametrize("options", [["--prompt", "document"], ["--role", "document"]])
def test_an_instruction_goes_with_queries_only(folder, options):
    answer = run("embed", "x", "--instruction", "Find it", *options, model=folder)
    assert_refused(answer, 2, "instruction", "queries only")
