# Goal: Qwen3 gives the vectors of transformers' Qwen3Model itself, one text at a time and without
# padding: in batches, cut to any dimension, in pieces; and ids that end where the model pools.
import functools
import json
import os
import shutil

import numpy as np
import parity
import pytest

GROUPED = ("qwen3-4-to-1", "qwen3-2-to-1", "qwen3-1-to-1")
HIDDEN = 64
TOKENS_MAX = 128
GLOSSES = 300
END = "<|endoftext|>"
TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERIES = ("what is a vector", "", "two\nlines", END)


@functools.cache
def texts():
    return parity.glosses(GLOSSES) + parity.other_scripts()


# --- The reference: transformers alone


def load_transformer(folder):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # of a head that nobody asked for
    torch.set_num_threads(1)  # tiny tensors: two threads wait for each other
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    # "sdpa" keeps no scores of all tokens with all tokens, of which a long text has gigabytes.
    model = transformers.Qwen3Model.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    return tokenizer, model.eval()


def with_transformers(folder, some):
    import torch

    tokenizer, model = load_transformer(folder)
    rows, vectors = [], []
    for text in some:
        ids = tokenizer(text, truncation=True)["input_ids"]
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state
        vector = hidden[0, -1].double().numpy()
        rows.append(ids)
        vectors.append(vector / np.linalg.norm(vector))
    return rows, np.array(vectors, dtype=np.float32)


def reference(folder, some):
    settings = {"by": "transformers alone, one text at a time"}
    make = functools.partial(with_transformers, folder, some)
    return parity.cached(make, some, parity.hash_model(folder), settings)


# --- Vectors


@pytest.mark.parametrize("batch_tokens", [1024, 16384])
@pytest.mark.parametrize("name", GROUPED)
def test_vectors(models, name, batch_tokens):
    expected = reference(models / name, texts())
    lengths = {len(ids) for ids in expected.ids}
    assert len(texts()) == 500 and min(lengths) == 1 and max(lengths) == TOKENS_MAX
    parity.assert_same_ids(parity.tokenize(models / name, texts()), expected.ids, texts())
    vectors = parity.embed(models / name, texts(), "--batch-tokens", batch_tokens)
    parity.assert_close(vectors, expected.vectors, texts())
    parity.assert_unit_length(vectors, texts())


def assert_cut(folder, dimensions, some):
    """Dividing by the length of the cut vector magnifies the whole vector's rounding, so much that
    a cut to almost nothing may be anything; multiplied by it, the limit is the whole vector's."""
    expected = reference(folder, texts()).vectors[: len(some), :dimensions].astype(np.float64)
    vectors = parity.embed(folder, some, "--dimensions", dimensions)
    parity.assert_unit_length(vectors, some)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    parity.assert_close(vectors * lengths, expected, some)


@pytest.mark.parametrize("dimensions", [1, 2, 31, 32, 33, 63, 64])
@pytest.mark.parametrize("name", GROUPED)
def test_dimensions(models, name, dimensions):
    assert_cut(models / name, dimensions, texts())


def test_every_dimension(models):
    for dimensions in range(1, HIDDEN + 1):
        assert_cut(models / "qwen3-4-to-1", dimensions, texts()[:20])


def test_more_dimensions_than_there_are(models):
    refusal = f"exit code 2: textvec: dimensions is {HIDDEN + 1}; the model takes 1 to {HIDDEN}"
    with pytest.raises(AssertionError, match=refusal):
        parity.embed(models / "qwen3-4-to-1", ["a"], "--dimensions", HIDDEN + 1)


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# The graph runs a text in pieces when tokens x tokens x hidden size exceed 2^32 (kPieceWork):
# here two, of 8,191 and 2 tokens, and three.
@pytest.mark.parametrize("tokens", [8193, 12500])
def test_a_text_in_pieces(models, tmp_path, tokens):
    assert tokens * tokens * HIDDEN > 2**32
    folder = shutil.copytree(models / "qwen3-2-to-1", tmp_path / "long")
    edit(folder / "config.json", max_position_embeddings=tokens)
    edit(folder / "tokenizer_config.json", model_max_length=tokens)
    edit(folder / "sentence_bert_config.json", max_seq_length=tokens)
    long_text = ["; ".join(parity.glosses(3000))]
    expected = reference(folder, long_text)
    assert len(expected.ids[0]) == tokens
    parity.assert_close(parity.embed(folder, long_text), expected.vectors, long_text)


# --- Ids


def tokenizer_of(folder):
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def texts_with_special_tokens():
    special = (END, "<|im_start|>", "<|im_end|>")
    some = [f"{a}{gap}{b}" for a in special for b in special for gap in ("", " ", "user\n")]
    return [*special, f"before{END}", f"{END}after", f"  {END}  ", END[:-1], *some]


@pytest.mark.parametrize("name", ["qwen3-4-to-1", "qwen3-bare"])
def test_special_tokens_in_a_text(models, name):
    some = texts_with_special_tokens()
    tokenizer = tokenizer_of(models / name)
    expected = [tokenizer.encode(text).ids for text in some]
    end = tokenizer.token_to_id(END)
    # The text's own does not stand for the one that the model pools at.
    assert expected[0] == [end, end] and all(ids[-1] == end for ids in expected)
    parity.assert_same_ids(parity.tokenize(models / name, some), expected, some)


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_keeps_the_final_token(models, side):
    folder = models / "qwen3-4-to-1"
    tokenizer = tokenizer_of(folder)
    long_texts = [text for text in texts() if len(tokenizer.encode(text).ids) > TOKENS_MAX]
    assert len(long_texts) >= 10
    tokenizer.enable_truncation(TOKENS_MAX, direction=side)
    expected = [tokenizer.encode(text).ids for text in long_texts]
    assert all(ids[-1] == tokenizer.token_to_id(END) for ids in expected)
    ids = parity.tokenize(folder, long_texts, "--truncate-side", side)
    parity.assert_same_ids(ids, expected, long_texts)


BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": False,
}


@pytest.mark.parametrize("post_processor", [BYTE_LEVEL, None], ids=["byte-level", "none"])
def test_a_final_token_that_the_template_lacks_is_put_back(models, tmp_path, post_processor):
    whole = models / "qwen3-4-to-1"
    folder = shutil.copytree(whole, tmp_path / "own")
    edit(folder / "tokenizer.json", post_processor=post_processor)
    some = texts() + texts_with_special_tokens()
    for options in ([], ["--truncate-side", "left"], ["--role", "query"]):
        expected = parity.tokenize(whole, some, *options)
        parity.assert_same_ids(parity.tokenize(folder, some, *options), expected, some)
    vectors = parity.embed(folder, texts())
    parity.assert_close(vectors, reference(whole, texts()).vectors, texts())
    note = f"tokenizer.json does not end a text with {END}"
    assert not any(note in line for line in parity.info(whole)["notes"])
    assert any(note in line for line in parity.info(folder)["notes"])


# --- Prompts


def assert_prompt(folder, prompt, *options):
    tokenizer = tokenizer_of(folder)
    expected = [tokenizer.encode(prompt + query).ids for query in QUERIES]
    assert max(map(len, expected)) < TOKENS_MAX
    parity.assert_same_ids(parity.tokenize(folder, QUERIES, *options), expected, QUERIES)


@pytest.mark.parametrize(
    "options, prompt",
    [
        (["--role", "query"], "Instruct: Find the gloss\nQuery:"),
        (["--prompt", "query"], "Instruct: Find the gloss\nQuery:"),
        (["--instruction", "Name it"], "Instruct: Name it\nQuery:"),
        (["--instruction", "Name it", "--role", "query"], "Instruct: Name it\nQuery:"),
        (["--instruction", ""], "Instruct: \nQuery:"),
        (["--instruction", END], f"Instruct: {END}\nQuery:"),
        (["--role", "document"], ""),
        (["--prompt", "document"], ""),
        ([], ""),
    ],
    ids=" ".join,
)
def test_prompts(models, options, prompt):
    assert_prompt(models / "qwen3-4-to-1", prompt, *options)


def test_an_instruction_gives_its_vectors(models):
    folder = models / "qwen3-4-to-1"
    some = parity.tiny_model_texts()
    expected = parity.reference(folder, some, instruction="Name it")
    vectors = parity.embed(folder, some, "--instruction", "Name it")
    parity.assert_close(vectors, expected.vectors, some)


@pytest.mark.parametrize(
    "options, prompt",
    [
        (["--role", "query"], f"Instruct: {TASK}\nQuery:"),
        (["--instruction", "Name it"], "Instruct: Name it\nQuery:"),
        (["--role", "document"], ""),
        ([], ""),
    ],
    ids=" ".join,
)
def test_a_bare_folder_has_the_published_prompt(models, options, prompt):
    assert not (models / "qwen3-bare" / "config_sentence_transformers.json").exists()
    assert_prompt(models / "qwen3-bare", prompt, *options)


def test_a_prompt_that_is_not_there_is_refused(models):
    refusal = 'exit code 2: textvec: unknown prompt "answer"; the model has document, query'
    with pytest.raises(AssertionError, match=refusal):
        parity.embed(models / "qwen3-4-to-1", ["a"], "--prompt", "answer")
