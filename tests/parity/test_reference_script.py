# Goal: scripts/make_reference.py, as a user runs it, writes what its help says, and the same bytes
# every time.
import json
import shutil
import subprocess
import sys

import make_reference
import make_tiny_models
import numpy as np
import parity
import pytest
import tiny_onnx

SCRIPT = make_reference.__file__


def run(*arguments):
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_model_folder(minilm, tmp_path):
    texts = parity.glosses(20) + ["", "two\nlines", "nul \0 inside"]
    source = parity.write_texts(tmp_path, texts)
    output, again = tmp_path / "a.npz", tmp_path / "b.npz"
    arguments = ["--model", str(minilm), "--texts", str(source), "--output"]
    done = run(*arguments, output)
    assert done.returncode == 0, done.stderr
    make_reference.main([*arguments, str(again)])
    assert output.read_bytes() == again.read_bytes()

    with np.load(output) as file:
        about = json.loads(bytes(file["about"]))
        stored, offsets = bytes(file["texts"]), file["text_offsets"].tolist()
        vectors = file["vectors"]
    assert about["versions"] == make_reference.library_versions()
    assert about["model_sha256"] == make_reference.hash_model(minilm)
    assert about["texts_sha256"] == make_reference.hash_texts(texts)
    assert [stored[a:b].decode() for a, b in zip(offsets, offsets[1:])] == texts
    assert np.array_equal(vectors, parity.reference(minilm, texts).vectors)


def test_onnx_file(tmp_path):
    folder = parity.onnx_model("bge-small-en-v1.5")
    texts = parity.glosses(5)
    source = parity.write_texts(tmp_path, texts)
    output = tmp_path / "reference.npz"
    onnx = folder / "model.onnx"
    done = run("--onnx", onnx, "--pooling", "cls", "--texts", source, "--output", output)
    assert done.returncode == 0, done.stderr
    expected = parity.reference_onnx(folder, texts, pooling="cls")
    ours = parity.read_reference(output)
    assert ours.ids == expected.ids
    assert np.array_equal(ours.vectors, expected.vectors)


def test_bad_line_is_named(minilm, tmp_path):
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "good"}\n{"other": 1}\n')
    done = run("--model", minilm, "--texts", source, "--output", tmp_path / "x.npz")
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert not (tmp_path / "x.npz").exists()


# --- Cut vectors


def unit(vectors):
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def about(path):
    with np.load(path) as file:
        return json.loads(bytes(file["about"]))


def test_dimensions(minilm, tmp_path):
    texts, output = parity.glosses(5), tmp_path / "reference.npz"
    source = parity.write_texts(tmp_path, texts)
    arguments = ["--texts", str(source), "--output", str(output), "--dimensions"]
    make_reference.main([*arguments, "100", "--model", str(minilm)])
    vectors = parity.read_reference(output).vectors
    assert vectors.dtype == np.float32
    whole = parity.reference(minilm, texts).vectors
    parity.assert_close(vectors, unit(whole[:, :100]), texts, 1e-7)
    assert about(output)["settings"]["dimensions"] == 100

    onnx = str(parity.onnx_model("bge-small-en-v1.5") / "model.onnx")
    make_reference.main([*arguments, "10", "--onnx", onnx, "--pooling", "cls"])
    whole = parity.reference_onnx(parity.onnx_model("bge-small-en-v1.5"), texts, pooling="cls")
    vectors = parity.read_reference(output).vectors
    parity.assert_close(vectors, unit(whole.vectors[:, :10]), texts, 1e-7)

    with pytest.raises(SystemExit, match="dimensions is 385; the model takes 1 to 384"):
        make_reference.main([*arguments, "385", "--model", str(minilm)])


# --- Decoders

TASK = "Find the passage"
QUERY_PROMPT = f"Instruct: {TASK}\nQuery:"


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    """A bare folder as transformers writes it: grouped heads whose size is not hidden / heads, a
    tokenizer that closes each text with a token and pads on the left."""
    import torch
    import transformers
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("qwen3")
    tokenizer, names = make_tiny_models.byte_pairs(parity.glosses(100))
    end = names["eos_token"]
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    config = transformers.Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=96,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    torch.manual_seed(20240229)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        padding_side="left",
        pad_token=names["pad_token"],
        eos_token=end,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedding_decoder(decoder, tmp_path_factory):
    """The folder with the files that sentence-transformers puts around it."""
    folder = shutil.copytree(decoder, tmp_path_factory.mktemp("embedding") / "qwen3")
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": index, "name": str(index), "path": path}
        | {"type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds)
    ]
    pooling = {"embedding_dimension": 64, "pooling_mode": "lasttoken"}
    prompts = {"prompts": {"query": QUERY_PROMPT, "document": ""}, "default_prompt_name": None}
    make_tiny_models.write_json(folder / "modules.json", modules)
    make_tiny_models.write_json(folder / "1_Pooling" / "config.json", pooling)
    make_tiny_models.write_json(folder / "config_sentence_transformers.json", prompts)
    return folder


def by_transformers(folder, texts, prompt):
    """Each text alone, so without padding: the states of its last token, by the model itself."""
    import tokenizers
    import torch
    import transformers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = transformers.Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()
    ids = [tokenizer.encode(prompt + text).ids for text in texts]
    with torch.no_grad():
        states = [model(torch.tensor([row])).last_hidden_state[0, -1].numpy() for row in ids]
    return ids, unit(np.stack(states))


def decoder_texts():
    texts = parity.glosses(6) + ["", "two\nlines"]
    assert len({len(text) for text in texts}) > 5, "nothing is padded"
    return texts


def assert_reference(folder, tmp_path, prompt, *arguments):
    texts, output = decoder_texts(), tmp_path / "reference.npz"
    source = parity.write_texts(tmp_path, texts)
    arguments = ["--model", folder, "--texts", source, "--output", output, *arguments]
    make_reference.main([str(argument) for argument in arguments])
    ours = parity.read_reference(output)
    ids, vectors = by_transformers(folder, texts, prompt)
    assert ours.ids == ids
    parity.assert_close(ours.vectors, vectors, texts)
    return about(output)["settings"]


def test_bare_decoder(decoder, tmp_path):
    assert_reference(decoder, tmp_path, "")


@pytest.mark.parametrize(
    "arguments, prompt",
    [
        (["--role", "document"], ""),
        (["--role", "query"], QUERY_PROMPT),
        (["--instruction", "Be brief"], "Instruct: Be brief\nQuery:"),
        (["--role", "query", "--instruction", ""], "Instruct: \nQuery:"),
    ],
)
def test_decoder_prompts(embedding_decoder, tmp_path, arguments, prompt):
    settings = assert_reference(embedding_decoder, tmp_path, prompt, *arguments)
    instruction = arguments[-1] if "--instruction" in arguments else None
    assert settings["instruction"] == instruction


def test_old_spelling_of_the_pooling(embedding_decoder, tmp_path):
    folder = shutil.copytree(embedding_decoder, tmp_path / "qwen3")
    pooling = {"word_embedding_dimension": 64, "pooling_mode_lasttoken": True}
    make_tiny_models.write_json(folder / "1_Pooling" / "config.json", pooling)
    assert_reference(folder, tmp_path, "")


def test_instruction_for_a_decoder_without_prompts(decoder, tmp_path):
    assert_reference(decoder, tmp_path, "Instruct: Be brief\nQuery:", "--instruction", "Be brief")


def test_instruction_needs_a_prompt_for_it(minilm, tmp_path):
    source = parity.write_texts(tmp_path, ["a"])
    arguments = ["--texts", str(source), "--output", str(tmp_path / "x.npz"), "--instruction", "b"]
    with pytest.raises(SystemExit, match="query prompt is '';"):
        make_reference.main(["--model", str(minilm), *arguments])
    for wrong in (["--role", "document"], ["--prompt-name", "query"]):
        with pytest.raises(SystemExit) as stopped:
            make_reference.main(["--model", str(minilm), *arguments, *wrong])
        assert stopped.value.code == 2


@pytest.mark.parametrize("cache, tolerance", [(np.float32, 2e-7), (np.float16, 2e-3)])
def test_onnx_decoder(decoder, tmp_path, cache, tolerance):
    random = np.random.default_rng(0)
    table = random.standard_normal((2005, 32), dtype=np.float32)
    positions = random.standard_normal((512, 32), dtype=np.float32)
    file = tiny_onnx.write_decoder(tmp_path / "model.onnx", table, positions, cache)
    texts, output = parity.glosses(10), tmp_path / "reference.npz"
    source = parity.write_texts(tmp_path, texts)
    arguments = ["--onnx", file, "--tokenizer", decoder / "tokenizer.json", "--texts", source]
    arguments += ["--output", output, "--pooling", "lasttoken"]
    make_reference.main([str(argument) for argument in arguments])
    ours = parity.read_reference(output)
    expected = [(table[row] + positions[: len(row)]).sum(axis=0) for row in ours.ids]
    parity.assert_close(ours.vectors, unit(np.stack(expected)), texts, tolerance)
    assert about(output)["settings"]["pooling"] == "lasttoken"
