# Goal: fewer dimensions are the first ones of the whole vector, made as long as 1 again.
import numpy as np
import parity
import pytest


@pytest.mark.parametrize("dimensions", [32, 128, 256, 383, 384])
def test_dimensions(minilm, dimensions):
    texts = parity.glosses(100) + parity.other_scripts()
    expected = parity.reference(minilm, texts).vectors[:, :dimensions].astype(np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    vectors = parity.embed(minilm, texts, "--dimensions", dimensions)
    assert vectors.shape[1] == dimensions
    parity.assert_close(vectors, expected, texts)
    parity.assert_unit_length(vectors, texts)


def test_one_dimension_is_a_sign(minilm):
    texts = parity.glosses(100)
    expected = np.sign(parity.reference(minilm, texts).vectors[:, :1])
    assert np.array_equal(parity.embed(minilm, texts, "--dimensions", 1), expected)
