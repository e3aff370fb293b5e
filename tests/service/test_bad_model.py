# In: model folders that are damaged, incomplete or strange.
# Goal: one line that names the file and the key, and exit code 3; never a crash, never a guess.
import json
import os
import random
import shutil
import struct

import numpy
import pytest
from command_line import assert_refused, run
from tiny_folder import HIDDEN, tensors, write_json, write_safetensors

CONFIG = "config.json"
POOLING = "1_Pooling/config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"


def edit(file, change):
    """`change` gets the file's JSON and alters it, or gives what stands there instead."""
    value = json.loads(file.read_text())
    replaced = change(value)
    file.write_text(json.dumps(value if replaced is None else replaced))


def set_key(file, key, value):
    edit(file, lambda config: config.update({key: value}))


def remove_key(file, key):
    edit(file, lambda config: {name: config[name] for name in config if name != key})


def assert_bad_model(folder, *words, code=3):
    answer = run("embed", "x", model=folder)
    assert_refused(answer, code, *words)
    assert answer.err.startswith("textvec: ") and len(answer.err.splitlines()) == 1, answer.err


def assert_survived(answer):
    """The damage was found, or was harmless."""
    assert answer.code in (0, 2, 3), (answer.code, answer.err)
    if answer.code == 0:
        assert len(answer.lines()) == 1
    else:
        assert answer.out == b"" and len(answer.err.splitlines()) == 1, answer.err


def flip_bits(file, begin, end, count, seed):
    """Yields after each of `count` flips, which are spread over the bytes begin to end."""
    generator = random.Random(seed)
    content = file.read_bytes()
    step = (end - begin) / count
    for index in range(count):
        position = begin + int(step * (index + generator.random()))
        damaged = bytes([content[position] ^ 1 << generator.randrange(8)])
        with open(file, "r+b") as stream:
            stream.seek(position)
            stream.write(damaged)
        yield
        with open(file, "r+b") as stream:
            stream.seek(position)
            stream.write(content[position : position + 1])


# --- Files that are not there, or no files


def test_a_missing_folder_is_named(tmp_path):
    assert_bad_model(tmp_path / "nowhere", tmp_path / "nowhere")


@pytest.mark.parametrize("file", [CONFIG, TOKENIZER, WEIGHTS, POOLING])
def test_a_missing_file_is_named(own_tiny, file):
    (own_tiny / file).unlink()
    assert_bad_model(own_tiny, file, own_tiny)


def test_an_empty_folder_says_what_a_model_has(tmp_path):
    assert_bad_model(tmp_path, CONFIG, "ONNX", tmp_path)


def test_a_file_is_no_folder(own_tiny):
    assert_bad_model(own_tiny / WEIGHTS, own_tiny / WEIGHTS, "folder", ".onnx", code=2)


@pytest.mark.parametrize("file", [CONFIG, TOKENIZER, WEIGHTS, POOLING, "modules.json"])
@pytest.mark.parametrize("what", ["folder", "pipe", "dead link"])
def test_what_is_no_file_is_named_and_not_waited_for(own_tiny, file, what):
    path = own_tiny / file
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(own_tiny / "nowhere")
    assert_bad_model(own_tiny, file)


# --- Weights


def header_end(folder):
    (length,) = struct.unpack("<Q", (folder / WEIGHTS).read_bytes()[:8])
    return 8 + length


def write_header(folder, text):
    """Other text in the place of the header, before the same data."""
    content = (folder / WEIGHTS).read_bytes()
    data = content[header_end(folder) :]
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data)


def edit_header(folder, change):
    header = json.loads((folder / WEIGHTS).read_bytes()[8 : header_end(folder)])
    change(header)
    write_header(folder, json.dumps(header).encode())


@pytest.mark.parametrize("where", ["0", "7", "8", "9", "header - 1", "header", "half", "data - 1"])
def test_truncated_weights(own_tiny, where):
    size = (own_tiny / WEIGHTS).stat().st_size
    end = header_end(own_tiny)
    lengths = {"header - 1": end - 1, "header": end, "half": size // 2, "data - 1": size - 1}
    os.truncate(own_tiny / WEIGHTS, lengths.get(where) or int(where))
    assert_bad_model(own_tiny, WEIGHTS, "byte")


def test_a_byte_too_many(own_tiny):
    with open(own_tiny / WEIGHTS, "ab") as stream:
        stream.write(b"\0")
    assert_bad_model(own_tiny, WEIGHTS, "byte")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**32, 100_000_001, "room + 1", 0, 1])
def test_a_header_of_the_wrong_length(own_tiny, length):
    if length == "room + 1":
        length = (own_tiny / WEIGHTS).stat().st_size - 7
    with open(own_tiny / WEIGHTS, "r+b") as stream:
        stream.write(struct.pack("<Q", length))
    assert_bad_model(own_tiny, WEIGHTS, *([length] if length > 1 else []))


@pytest.mark.parametrize(
    "text",
    [b"[]", b"7", b"null", b"{", b"{}", b'{"a":1}', b"[" * 100_000, b'{"\xff":1}', b'{"a":{}}'],
    ids=lambda text: text[:10].decode("ascii", "replace"),
)
def test_a_header_that_is_none(own_tiny, text):
    write_header(own_tiny, text)
    assert_bad_model(own_tiny, WEIGHTS)


DATA_BYTES = sum(tensor.nbytes for tensor in tensors(30522).values())

# What is written into the entry of a tensor of [2, 32] floats, 256 bytes.
BAD_ENTRIES = {
    "past the end": {"data_offsets": [DATA_BYTES - 255, DATA_BYTES + 1]},
    "far past the end": {"data_offsets": [2**62, 2**62 + 256]},
    "more than 63 bits": {"data_offsets": [2**64 - 256, 2**64]},
    "overlap": {"data_offsets": [0, 256]},
    "backwards": {"data_offsets": [256, 0]},
    "negative": {"data_offsets": [-256, 0]},
    "not whole": {"data_offsets": [0.5, 256.5]},
    "one offset": {"data_offsets": [256]},
    "no offsets": {"data_offsets": None},
    "offsets in words": {"data_offsets": ["0", "256"]},
    "larger shape": {"shape": [3, HIDDEN]},
    "other rank": {"shape": [2 * HIDDEN]},
    "shape that overflows": {"shape": [2**32, 2**32, 2**32]},
    "shape that overflows to the right size": {"shape": [2**62, 2, HIDDEN * 2**62]},
    "negative shape": {"shape": [-2, -HIDDEN]},
    "no shape": {"shape": None},
    "too many dimensions": {"shape": [1] * 31 + [2, HIDDEN]},
    "unknown type": {"dtype": "F31"},
    "other size of type": {"dtype": "F64"},
    "no type": {"dtype": None},
    "type that is no name": {"dtype": 32},
}


@pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_a_tensor_that_is_described_wrongly_is_named(own_tiny, entry):
    edit_header(own_tiny, lambda header: header[TYPES].update(entry))
    # What overlaps is said by its place and not by its name.
    words = ["overlap"] if entry == BAD_ENTRIES["overlap"] else [TYPES]
    if entry != BAD_ENTRIES["other rank"]:
        words.append(WEIGHTS)  # see test_a_tensor_that_does_not_fit_names_its_file
    assert_bad_model(own_tiny, *words)


def test_a_missing_tensor_is_named(own_tiny):
    named = tensors(30522)
    del named[TYPES]
    write_safetensors(own_tiny / WEIGHTS, named)
    assert_bad_model(own_tiny, TYPES, "missing")


def test_a_type_that_is_no_float_is_refused(own_tiny):
    named = tensors(30522)
    named[TYPES] = named[TYPES].astype("<f4").view("<i4")
    write_safetensors(own_tiny / WEIGHTS, named)
    edit_header(own_tiny, lambda header: header[TYPES].update({"dtype": "I32"}))
    assert_bad_model(own_tiny, TYPES, "F32", code=2)


@pytest.mark.parametrize("damage", ["shape", "missing"])
def test_a_tensor_that_does_not_fit_names_its_file(own_tiny, damage):
    if damage == "shape":
        edit_header(own_tiny, lambda header: header[TYPES].update({"shape": [2 * HIDDEN]}))
    else:
        set_key(own_tiny / CONFIG, "num_hidden_layers", 2)
    assert_bad_model(own_tiny, WEIGHTS)


@pytest.mark.parametrize("part", range(6))
def test_a_flipped_bit_in_the_header_is_found_or_harmless(own_tiny, part):
    end = header_end(own_tiny)
    begin, end = end * part // 6, end * (part + 1) // 6
    for _ in flip_bits(own_tiny / WEIGHTS, begin, end, 7, seed=part):
        assert_survived(run("embed", "x", model=own_tiny))


@pytest.mark.parametrize("file, count", [(CONFIG, 8), ("modules.json", 6), (TOKENIZER, 8)])
def test_a_flipped_bit_in_another_file_is_found_or_harmless(own_tiny, file, count):
    size = (own_tiny / file).stat().st_size
    for _ in flip_bits(own_tiny / file, 0, size, count, seed=11):
        assert_survived(run("embed", "x", model=own_tiny))


@pytest.mark.parametrize(
    "weight_map",
    [{}, [], {WORDS: 3}, {WORDS: "../shard.safetensors"}, {WORDS: "/shard.safetensors"}],
    ids=json.dumps,
)
def test_a_bad_list_of_shards(own_tiny, weight_map):
    (own_tiny / WEIGHTS).rename(own_tiny / "shard.safetensors")
    write_json(own_tiny / "model.safetensors.index.json", {"weight_map": weight_map})
    assert_bad_model(own_tiny, "model.safetensors.index.json")


def test_a_missing_shard_is_named(own_tiny):
    (own_tiny / WEIGHTS).rename(own_tiny / "shard.safetensors")
    weight_map = dict.fromkeys(tensors(30522), "shard.safetensors")
    index = own_tiny / "model.safetensors.index.json"
    write_json(index, {"weight_map": weight_map})
    assert run("embed", "x", model=own_tiny).code == 0
    write_json(index, {"weight_map": {**weight_map, WORDS: "other.safetensors"}})
    assert_bad_model(own_tiny, "other.safetensors")


# --- config.json

REQUIRED = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_required_key_of_the_configuration(own_tiny, key):
    config = own_tiny / CONFIG
    right = json.loads(config.read_text())[key]
    remove_key(config, key)
    assert_bad_model(own_tiny, CONFIG, key, "missing")
    for wrong in [None, "32", -1, 0, 1.5, True, [32], 10**9, 2**63, 10**30]:
        set_key(config, key, wrong)
        assert_bad_model(own_tiny, CONFIG, key)
    set_key(config, key, right)
    assert run("embed", "x", model=own_tiny).code == 0


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("hidden_size", 33, ["33"]),
        ("hidden_size", 2 * HIDDEN, ["64", "32"]),
        ("num_attention_heads", 5, ["5", "32"]),
        ("pad_token_id", -1, ["pad_token_id", "-1"]),
        ("pad_token_id", 30522, ["pad_token_id", "30522"]),
        ("type_vocab_size", 0, ["type_vocab_size"]),
        ("layer_norm_eps", -1, ["layer_norm_eps"]),
        ("layer_norm_eps", 1, ["layer_norm_eps"]),
        ("layer_norm_eps", "small", ["layer_norm_eps", "string"]),
        ("hidden_act", 3, ["hidden_act"]),
        ("model_type", 3, ["model_type"]),
        ("is_decoder", "no", ["is_decoder"]),
    ],
)
def test_a_value_that_cannot_be(own_tiny, key, value, words):
    set_key(own_tiny / CONFIG, key, value)
    assert_bad_model(own_tiny, CONFIG, *words)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("hidden_act", "swish", ["hidden_act", '"swish"', "gelu"]),
        ("position_embedding_type", "relative_key", ["relative_key", "absolute"]),
        ("is_decoder", True, ["is_decoder"]),
    ],
)
def test_a_value_that_is_not_computed_is_not_guessed(own_tiny, key, value, words):
    set_key(own_tiny / CONFIG, key, value)
    assert_bad_model(own_tiny, CONFIG, *words, code=2)


@pytest.mark.parametrize("model_type", ["qwen2", "BERT", "", None])
def test_an_unknown_architecture_lists_the_known_ones(own_tiny, model_type):
    set_key(own_tiny / CONFIG, "model_type", model_type)
    known = ["bert", "distilbert", "roberta", "xlm-roberta"]
    words = [CONFIG, "model_type", f'"{model_type or ""}"', *known, "ONNX", "as it is"]
    assert_bad_model(own_tiny, *words, code=2)


def test_a_value_with_a_line_end_is_said_in_one_line(own_tiny):
    set_key(own_tiny / CONFIG, "model_type", "be\nrt\x1b[2J")
    answer = run("embed", "x", model=own_tiny)
    assert_refused(answer, 2, "model_type")
    assert len(answer.err.splitlines()) == 1
    assert answer.err.rstrip("\n").isprintable()  # a model must not steer the terminal


@pytest.mark.parametrize("file", [CONFIG, POOLING, "modules.json", "sentence_bert_config.json"])
def test_text_that_is_no_json(own_tiny, file):
    path = own_tiny / file
    whole = path.read_bytes()
    for content in [b"", whole[: len(whole) // 2], whole + b"}", b"7", b"[" * 100_000, b"\xff"]:
        path.write_bytes(content)
        assert_bad_model(own_tiny, file)


def test_a_configuration_that_is_too_large_is_not_read(own_tiny):
    with open(own_tiny / CONFIG, "ab") as stream:
        stream.truncate((64 << 20) + 1)  # zeros, which take no room
    assert_bad_model(own_tiny, CONFIG, (64 << 20) + 1, 64 << 20)


# --- Tokenizer


def test_ids_beyond_the_vocabulary(own_tiny):
    set_key(own_tiny / CONFIG, "vocab_size", 30521)
    assert_bad_model(own_tiny, TOKENIZER, "30521", CONFIG, "vocab_size")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff" * 1000, b"[" * 100_000, b'{"model":{"type":"Magic"}}']
)
def test_a_tokenizer_that_is_none(own_tiny, content):
    (own_tiny / TOKENIZER).write_bytes(content)
    assert_bad_model(own_tiny, TOKENIZER)


def test_a_truncated_tokenizer(own_tiny):
    os.truncate(own_tiny / TOKENIZER, 200_000)
    assert_bad_model(own_tiny, TOKENIZER)


# --- Modules


@pytest.mark.parametrize(
    "flags, words, code",
    [
        ({"pooling_mode": "magic"}, ["magic", "cls", "lasttoken", "max", "mean"], 2),
        ({"pooling_mode_weightedmean_tokens": True}, ["weightedmean"], 2),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ["cls", "mean"], 2),
        ({"pooling_mode": ["cls", "mean"]}, ["cls", "mean"], 2),
        ({"pooling_mode": []}, ["pooling_mode"], 3),
        ({"pooling_mode": 3}, ["pooling_mode"], 3),
        ({"pooling_mode_mean_tokens": "yes"}, ["pooling_mode_mean_tokens"], 3),
        ({"word_embedding_dimension": 31}, ["word_embedding_dimension", "31", "32"], 3),
        ({"word_embedding_dimension": None}, ["word_embedding_dimension"], 3),
    ],
    ids=str,
)
def test_a_pooling_that_is_not_computed(own_tiny, flags, words, code):
    write_json(own_tiny / POOLING, {"word_embedding_dimension": HIDDEN, **flags})
    assert_bad_model(own_tiny, POOLING, *words, code=code)


def test_an_unknown_way_of_pooling_is_not_taken_for_mean(own_tiny):
    # sentence-transformers refuses the key; a vector of some other pooling would be a guess.
    flags = {"word_embedding_dimension": HIDDEN, "pooling_mode_magic_tokens": True}
    write_json(own_tiny / POOLING, flags)
    answer = run("embed", "x", model=own_tiny)
    assert answer.code in (2, 3)
    assert answer.out == b"" and "pooling_mode_magic_tokens" in answer.err


@pytest.mark.parametrize("path", ["../1_Pooling", "1_Pooling/../../x", "/etc", "..", "a\\b", "C:x"])
def test_a_module_must_stay_in_the_folder(own_tiny, path):
    edit(own_tiny / "modules.json", lambda modules: modules[1].update(path=path))
    assert_bad_model(own_tiny, "modules.json", "path")


@pytest.mark.parametrize(
    "change, words, code",
    [
        (lambda modules: [], ["1 to 64"], 3),
        (lambda modules: {}, ["1 to 64"], 3),
        (lambda modules: modules * 33, ["1 to 64"], 3),
        (lambda modules: modules[1].pop("path") and None, ["module 1", "path", "missing"], 3),
        (lambda modules: modules[1].pop("type") and None, ["module 1", "type", "missing"], 3),
        (lambda modules: modules[1].update(type="other.Pooling"), ["module 1", "other.Pooling"], 2),
        (lambda modules: modules[::-1], ["module 0", "Pooling"], 2),
        (lambda modules: modules[:1], ["module 1", "Pooling"], 2),
    ],
)
def test_a_list_of_modules_that_does_not_run(own_tiny, change, words, code):
    edit(own_tiny / "modules.json", change)
    assert_bad_model(own_tiny, "modules.json", *words, code=code)


def add_dense(folder, in_features, shape):
    """A Dense module of 8 components behind the pooling; `shape` is of the weight that it has."""
    kind = "sentence_transformers.models.Dense"
    module = {"idx": 2, "name": "2", "path": "2_Dense", "type": kind}
    edit(folder / "modules.json", lambda modules: modules.append(module))
    tanh = "torch.nn.modules.activation.Tanh"
    features = {"in_features": in_features, "out_features": 8, "activation_function": tanh}
    write_json(folder / "2_Dense/config.json", features)
    weight = numpy.random.default_rng(5).normal(size=shape).astype("<f4")
    named = {"linear.weight": weight, "linear.bias": numpy.zeros(8, "<f4")}
    write_safetensors(folder / "2_Dense" / WEIGHTS, named)


def test_a_dense_module_must_fit_its_neighbour(own_tiny):
    add_dense(own_tiny, HIDDEN - 1, (8, HIDDEN - 1))
    assert_bad_model(own_tiny, "2_Dense/config.json", "in_features", "31", "32")


def test_a_dense_module_must_fit_its_weights(own_tiny):
    add_dense(own_tiny, HIDDEN, (8, HIDDEN - 1))
    assert_bad_model(own_tiny, "linear.weight", "[8, 31]", "[8, 32]")
    (own_tiny / "2_Dense" / WEIGHTS).unlink()
    assert_bad_model(own_tiny, "2_Dense/model.safetensors")
    shutil.rmtree(own_tiny / "2_Dense")
    assert_bad_model(own_tiny, "2_Dense/config.json")


def test_prompts_that_are_no_texts(own_tiny):
    file = own_tiny / "config_sentence_transformers.json"
    for prompts in [[], "query", {"query": 3}, {str(n): "" for n in range(1001)}]:
        write_json(file, {"prompts": prompts})
        assert_bad_model(own_tiny, file.name, "prompts")
    write_json(file, {"prompts": {}, "default_prompt_name": "answer"})
    assert_bad_model(own_tiny, file.name, "default_prompt_name", '"answer"')


def test_limits_that_are_none(own_tiny):
    file = own_tiny / "sentence_bert_config.json"
    for limit in [0, -1, "64", 1.5, 10**30]:
        write_json(file, {"max_seq_length": limit})
        assert_bad_model(own_tiny, file.name, "max_seq_length")
    write_json(file, {"do_lower_case": "no"})
    assert_bad_model(own_tiny, file.name, "do_lower_case")


# --- ONNX files


@pytest.mark.parametrize("content", [b"", b"no graph\n", b"\x99" * 1000, b"\0" * 1000, b"\x08\x09"])
def test_an_onnx_file_that_is_none(own_tiny, content):
    for file in [CONFIG, WEIGHTS]:
        (own_tiny / file).unlink()
    graph = own_tiny / "model.onnx"
    graph.write_bytes(content)
    assert_bad_model(own_tiny, "model.onnx")
    assert_bad_model(graph, "model.onnx")


# --- Weights that are well-formed and useless


def write_weights(folder, name, change):
    named = tensors(30522)
    change(named[name])
    write_safetensors(folder / WEIGHTS, named)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_a_text_whose_vector_is_no_number_fails_alone(own_tiny, value):
    hello = 7592  # its id in this vocabulary

    def change(words):
        words[hello] = value

    write_weights(own_tiny, WORDS, change)
    answer = run("embed", "good", "well, hello there", "fine", model=own_tiny)
    assert answer.code == 4
    assert ["embedding" in line for line in answer.lines()] == [True, False, True]
    assert answer.lines()[1]["error"]["code"] == "non_finite"
    assert "text 1: " in answer.err and "finite" in answer.err
    assert b"nan" not in answer.out.lower() and b"inf" not in answer.out.lower()


def test_a_vector_of_zeros_is_no_vector(own_tiny):
    named = tensors(30522)
    for kind in ["weight", "bias"]:
        named[f"encoder.layer.0.output.LayerNorm.{kind}"][:] = 0
    write_safetensors(own_tiny / WEIGHTS, named)
    answer = run("embed", "good", model=own_tiny)
    assert answer.code == 4
    assert "embedding" not in answer.lines()[0]
    assert "text 0: " in answer.err and "zeros" in answer.err
