# Goal: the gates of this folder can fail. Each is given something wrong and must say so.
import numpy as np
import parity
import pytest


def some_texts():
    return parity.glosses(20)


def test_wrong_pooling_is_found(minilm):
    expected = parity.reference(minilm, some_texts()).vectors
    wrong = parity.embed(minilm, some_texts(), "--pooling", "cls")
    with pytest.raises(AssertionError, match="20 of 20 vectors differ"):
        parity.assert_close(wrong, expected, some_texts())


def test_wrong_length_is_found(minilm):
    vectors = parity.reference(minilm, some_texts()).vectors
    parity.assert_unit_length(vectors, some_texts())
    with pytest.raises(AssertionError, match="length of a vector is off"):
        parity.assert_unit_length(vectors * np.float32(1.00001), some_texts())


def test_wrong_ids_are_found(minilm):
    ids = parity.reference(minilm, some_texts()).ids
    wrong = [list(row) for row in ids]
    wrong[7][-1] += 1
    with pytest.raises(AssertionError, match="1 of 20 texts have other ids; the first is text 7"):
        parity.assert_same_ids(wrong, ids, some_texts())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_bad_component_is_found(minilm, value):
    expected = parity.reference(minilm, some_texts()).vectors
    wrong = expected.copy()
    wrong[3, 100] = value
    with pytest.raises(AssertionError, match="1 of 20 vectors differ .* is text 3,"):
        parity.assert_close(wrong, expected, some_texts())


def test_a_small_difference_is_found(minilm):
    expected = parity.reference(minilm, some_texts()).vectors
    wrong = expected.copy()
    wrong[5, 0] += 3e-6
    with pytest.raises(AssertionError, match="1 of 20 vectors differ"):
        parity.assert_close(wrong, expected, some_texts())
