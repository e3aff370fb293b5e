# Goal: a text that is too long has the mean of its windows' vectors, weighted by their tokens, and
# windows and vectors are those of Python's libraries.
import json
import tempfile

import numpy as np
import parity
import pytest
import tokenizers

EMOJI = "\U0001f600 caf\u00e9 \u6d77\u8fb9 \U0001f469\u200d\U0001f467 "
TOKENS_MAX = 256  # of MiniLM, special tokens included


def long_texts():
    """Some that fit, some of a few windows, one with characters of several bytes."""
    glosses = parity.glosses(400)
    parts = [(0, 9), (20, 30), (50, 55)]
    texts = [" ".join(glosses[begin : begin + count]) for begin, count in parts]
    texts.append(EMOJI.join(glosses[200:225]))
    texts += ["word " * 253, "word " * 254, "word " * 255, "short", ""]
    return texts


@pytest.fixture(scope="module")
def tokenizer(minilm):
    loaded = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    loaded.no_padding()
    loaded.no_truncation()
    return loaded


@pytest.fixture(scope="module")
def vector_of(minilm):
    """transformers on ids, by hand: sentence-transformers takes texts only."""
    import torch
    import transformers

    # As many as make_reference.py takes.
    torch.set_num_threads(parity.make_reference.THREADS)
    model = transformers.AutoModel.from_pretrained(str(minilm), dtype=torch.float32).eval()

    def mean_of_states(ids):
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        return states.double().mean(dim=0).numpy()

    return mean_of_states


def windows_of(tokenizer, text, tokens_max, overlap):
    """The windows of the tokenizers package: truncation with a stride."""
    tokenizer.enable_truncation(tokens_max, stride=overlap)
    first = tokenizer.encode(text)
    tokenizer.no_truncation()
    return [first, *first.overflowing]


def own(encoding):
    """The text's tokens: what is not the template's."""
    return [i for i, special in enumerate(encoding.special_tokens_mask) if not special]


def expected_vector(vectors, counts, normalize=True):
    vectors = np.array(vectors, dtype=np.float64)
    if normalize and len(vectors) > 1:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = np.array(counts if len(counts) > 1 else [1], dtype=np.float64)
    mean = (weights[:, None] * vectors).sum(axis=0) / weights.sum()
    return mean / np.linalg.norm(mean) if normalize else mean


def embed_lines(model, texts, *options):
    with tempfile.TemporaryDirectory() as folder:
        file = parity.write_texts(folder, texts)
        out = parity.textvec(
            "embed", "--model", model, "--input", file, "--too-long", "chunk", *options
        )
    return [json.loads(line) for line in out.splitlines()]


def vectors_in(lines):
    return np.array([line["embedding"] for line in lines], dtype=np.float32)


@pytest.mark.parametrize(
    "tokens_max, overlap, options",
    [
        (TOKENS_MAX, 31, ()),  # an eighth of 254
        (TOKENS_MAX, 0, ("--chunk-overlap", 0)),
        (20, 17, ("--chunk-tokens", 20, "--chunk-overlap", 17)),  # all but one
        (64, 20, ("--chunk-tokens", 64, "--chunk-overlap", 20, "--no-normalize")),
    ],
)
def test_the_mean_of_the_windows_of_the_tokenizers_package(
    minilm, tokenizer, vector_of, tokens_max, overlap, options
):
    texts = long_texts() if overlap != 17 else long_texts()[:1]
    lines = embed_lines(minilm, texts, *options)
    expected, counts = [], []
    for text, line in zip(texts, lines, strict=True):
        windows = windows_of(tokenizer, text, tokens_max, overlap)
        tokens = [len(own(window)) for window in windows]
        assert [chunk["tokens"] for chunk in line["chunks"]] == tokens
        assert line["tokens"] == len(tokenizer.encode(text).ids)
        assert line["truncated"] is False
        vectors = [vector_of(window.ids) for window in windows]
        expected.append(expected_vector(vectors, tokens, "--no-normalize" not in options))
        counts.append(len(windows))
    assert max(counts) > 3
    parity.assert_close(vectors_in(lines), np.array(expected), texts)


def test_each_part_is_where_its_tokens_are(minilm, tokenizer):
    texts = long_texts()
    for text, line in zip(texts, embed_lines(minilm, texts), strict=True):
        data = text.encode()
        windows = windows_of(tokenizer, text, TOKENS_MAX, 31)
        reached = 0
        for window, chunk in zip(windows, line["chunks"], strict=True):
            assert chunk["begin"] <= reached
            reached = chunk["end"]
            part = data[chunk["begin"] : chunk["end"]].decode()  # whole characters
            offsets = [window.offsets[i] for i in own(window)]
            if not offsets:
                continue
            # Python counts characters. What stands before the first token and behind the last one
            # of a part is what no token holds: spaces.
            tokens = text[offsets[0][0] : offsets[-1][1]]
            assert part.strip() == tokens.strip()
        assert reached == len(data)
        assert line["chunks"][0]["begin"] == 0


def test_a_prompt_stands_before_every_window(minilm, tokenizer, vector_of, tmp_path):
    prompt = "search for this: "
    folder = tmp_path / "model"
    folder.mkdir()
    for path in minilm.iterdir():
        if path.name != "config_sentence_transformers.json":
            (folder / path.name).symlink_to(path)
    config = {"prompts": {"query": prompt}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))

    texts = long_texts()[:4]
    options = ("--role", "query", "--chunk-overlap", 17, "--dimensions", 200)
    lines = embed_lines(folder, texts, *options)
    before = tokenizer.encode(prompt).ids[1:-1]
    room = TOKENS_MAX - 2 - len(before)
    expected = []
    for text, line in zip(texts, lines, strict=True):
        cls, *ids, sep = tokenizer.encode(text).ids
        parts = [ids[begin : begin + room] for begin in range(0, len(ids) - 17, room - 17)]
        assert [chunk["tokens"] for chunk in line["chunks"]] == [len(part) for part in parts]
        assert line["tokens"] == 2 + len(before) + len(ids)
        vectors = [vector_of([cls, *before, *part, sep]) for part in parts]
        cut = expected_vector(vectors, [len(part) for part in parts])[:200]
        expected.append(cut / np.linalg.norm(cut))
    parity.assert_close(vectors_in(lines), np.array(expected), texts)


def test_what_fits_has_the_bytes_that_it_has_without(minilm):
    texts = ["word " * count for count in (1, 253, 254)] + parity.other_scripts()[:20]
    chunked = parity.embed(minilm, texts, "--too-long", "chunk")
    assert chunked.tobytes() == parity.embed(minilm, texts).tobytes()


def test_tokenize_gives_the_whole_text(minilm, tokenizer):
    texts = long_texts()
    ids = parity.tokenize(minilm, texts, "--too-long", "chunk")
    parity.assert_same_ids(ids, [tokenizer.encode(text).ids for text in texts], texts)
