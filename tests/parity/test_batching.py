# Goal: a text has the same vector alone, beside any others, in any order. Method: 64 texts of very
# different lengths, each alone (a budget of one token), against all together and all in between.
import functools
import random

import numpy as np
import parity
import pytest

TOLERANCE = 1e-6


@functools.cache
def mixed_texts():
    """From one character to more than the model takes, in no order."""
    long = [text for text in parity.other_scripts() if len(text) > 250]
    short = [text for text in parity.other_scripts() if 0 < len(text) < 6]
    texts = long[:12] + short[:16] + list(parity.glosses(36))
    random.Random(0).shuffle(texts)
    return texts


@functools.cache
def alone(model):
    return parity.embed(model, mixed_texts(), "--batch-tokens", 1)


@pytest.mark.parametrize("batch_tokens", [64, 100, 1024, 4096, 65536])
def test_batch_sizes(minilm, batch_tokens):
    texts = mixed_texts()
    assert len(texts) == 64
    vectors = parity.embed(minilm, texts, "--batch-tokens", batch_tokens)
    parity.assert_close(vectors, alone(minilm), texts, TOLERANCE)


@pytest.mark.parametrize("batch_tokens", [1024, 65536])
def test_reversed(minilm, batch_tokens):
    texts = mixed_texts()
    vectors = parity.embed(minilm, texts[::-1], "--batch-tokens", batch_tokens)
    parity.assert_close(vectors[::-1], alone(minilm), texts, TOLERANCE)


def test_one_process_a_text(minilm):
    texts = mixed_texts()[:4]
    vectors = np.concatenate([parity.embed(minilm, [text]) for text in texts])
    parity.assert_close(vectors, alone(minilm)[:4], texts, TOLERANCE)


def test_repeated_text(minilm):
    texts = [mixed_texts()[0]] * 40 + mixed_texts()[:24]
    vectors = parity.embed(minilm, texts)
    parity.assert_close(vectors[:40], np.repeat(alone(minilm)[:1], 40, axis=0), texts, TOLERANCE)
