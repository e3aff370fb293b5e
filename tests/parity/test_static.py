# Goal: static graphs, run by the binary in their buckets, give the vectors of the libraries that
# the fused ones are held against; and CoreML would take each of them whole, in both precisions.
import numpy as np
import parity
import pytest
import test_coreml
import test_qwen3 as qwen3

FORMS = (
    "bert-gelu-new", "roberta-f16", "xlm-roberta-mean", "distilbert-relu", "qwen3-bias",
    "qwen3-yarn",
)  # fmt: skip
HALF_COSINE_MIN = 0.9995


def texts():
    return parity.tiny_model_texts()


def cosines(a, b):
    return (a.astype(np.float64) * b).sum(axis=1)


@pytest.mark.parametrize("name", qwen3.GROUPED)
def test_decoders(models, name):
    some = qwen3.texts()
    expected = qwen3.reference(models / name, some).vectors
    vectors = parity.embed(models / name, some, "--target", "static")
    parity.assert_close(vectors, expected, some)
    half = parity.embed(models / name, some, "--target", "static", "--precision", "f16")
    assert cosines(half, expected).min() >= HALF_COSINE_MIN


@pytest.mark.parametrize("name", FORMS)
def test_other_forms(models, name):
    vectors = parity.embed(models / name, texts(), "--target", "static")
    parity.assert_close(vectors, parity.reference(models / name, texts()).vectors, texts())


def test_minilm(minilm, many_texts):
    some = many_texts[::12]
    expected = parity.reference(minilm, many_texts).vectors[::12]
    vectors = parity.embed(minilm, some, "--target", "static")
    parity.assert_close(vectors, expected, some)
    parity.assert_close(vectors, parity.embed(minilm, some), some)


# A text longer than every bucket runs on the fused graph, beside others that do not.
def test_two_buckets_and_longer_texts(models):
    name = qwen3.GROUPED[0]
    some = qwen3.texts()[::5]
    expected = qwen3.reference(models / name, qwen3.texts()).vectors[::5]
    chosen = ("--target", "static", "--buckets", "1x8,3x24", "--batch-tokens", 4096)
    parity.assert_close(parity.embed(models / name, some, *chosen), expected, some)


@pytest.mark.parametrize("name", ["qwen3-4-to-1", "bert-gelu-new", "minilm"])
def test_coreml_takes_the_whole_graph(models, minilm, tmp_path, name):
    model = minilm if name == "minilm" else models / name
    graphs = {}
    for precision in ("f32", "f16"):
        chosen = ("--target", "static", "--precision", precision)
        parity.textvec("compile", *chosen, "--output", tmp_path / precision, "--model", model)
        graphs[precision] = sorted((tmp_path / precision).glob("model_*.onnx"))
        assert len(graphs[precision]) >= 5
        for graph in graphs[precision]:
            for placement in test_coreml.check_graph(graph):
                assert placement.whole, placement
    half, whole = (tmp_path / precision / "model_1x32.onnx" for precision in ("f16", "f32"))
    result = test_coreml.simulate_half(half, whole, model, texts()[:8])
    assert result.good and max(result.tokens) > 8, result


def test_the_checker_sees_what_is_not_taken(models, tmp_path):
    """The fused graph is in pieces for CoreML, and a Cast right behind an input is left out."""
    import onnx

    parity.textvec("compile", "--output", tmp_path / "fused", "--model", models / "bert-mean")
    fused = test_coreml.check_graph(tmp_path / "fused" / "model.onnx")[0]
    assert fused.taken < fused.nodes and "MultiHeadAttention" in str(fused.refused)

    chosen = ("--target", "static", "--precision", "f16", "--bucket", "1x8")
    parity.textvec("compile", *chosen, "--output", tmp_path, "--model", models / "bert-mean")
    graph = tmp_path / "model_1x8.onnx"
    model = onnx.load(graph, load_external_data=False)
    (reshape,) = [node for node in model.graph.node if "token_embeddings" in node.input]
    cast = next(node for node in model.graph.node if reshape.output[0] in node.input)
    assert (reshape.op_type, cast.op_type) == ("Reshape", "Cast")
    reshape.op_type, cast.op_type = "Cast", "Reshape"
    del reshape.input[:], cast.input[:]
    reshape.input.append("token_embeddings")
    reshape.attribute.extend(cast.attribute)
    del cast.attribute[:]
    shape = onnx.helper.make_tensor("as_before", onnx.TensorProto.INT64, [3], [1, 8, 64])
    model.graph.initializer.append(shape)
    cast.input.extend([reshape.output[0], "as_before"])
    onnx.save(model, graph)
    assert "Cast" in str(test_coreml.check_graph(graph)[0].refused)
