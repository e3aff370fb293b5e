# Goal: somebody else's ONNX file gives through textvec what it gives through Python's ONNX Runtime.
# The quantised files scale each inference by the largest value in it, so a text's vector depends on
# its neighbours; they are compared with every text alone, which a budget of one token makes.
import parity
import pytest

MODELS = parity.ONNX_MODELS


def texts():
    return parity.glosses(100) + parity.other_scripts()


def expected(folder, pooling):
    # The files state no limit, so what textvec assumes is asked for and given to both sides.
    tokens_max = parity.info(folder)["tokens_max"]
    return parity.reference_onnx(folder, texts(), pooling=pooling, tokens_max=tokens_max)


@pytest.mark.parametrize("name", MODELS)
def test_ids(name):
    folder = parity.onnx_model(name)
    ids = expected(folder, MODELS[name]).ids
    assert max(map(len, ids)) == 512
    parity.assert_same_ids(parity.tokenize(folder, texts()), ids, texts())


@pytest.mark.parametrize("name", MODELS)
def test_vectors(name):
    folder = parity.onnx_model(name)
    options = ["--pooling", MODELS[name]]
    if name.endswith("-q"):
        options += ["--batch-tokens", 1]
    vectors = parity.embed(folder, texts(), *options)
    parity.assert_close(vectors, expected(folder, MODELS[name]).vectors, texts())
    parity.assert_unit_length(vectors, texts())
