# Goal: on a real model, textvec's tokens and vectors are those of sentence-transformers.
import parity


def test_ids(minilm, many_texts):
    expected = parity.reference(minilm, many_texts).ids
    assert max(map(len, expected)) == parity.info(minilm)["tokens_max"], "no text was truncated"
    parity.assert_same_ids(parity.tokenize(minilm, many_texts), expected, many_texts)


def test_vectors(minilm, many_texts):
    vectors = parity.embed(minilm, many_texts)
    expected = parity.reference(minilm, many_texts).vectors
    parity.assert_close(vectors, expected, many_texts)
    parity.assert_unit_length(vectors, many_texts)
