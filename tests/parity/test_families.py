# Goal: every form of model that textvec promises to run gives sentence-transformers' vectors.
# Method: tiny models with random weights, made at the start by scripts/make_tiny_models.py.
import json
import shutil

import make_tiny_models
import numpy as np
import parity
import pytest

BY_NAME = {recipe.name: recipe for recipe in make_tiny_models.RECIPES}
WITH_PROMPTS = [recipe.name for recipe in make_tiny_models.RECIPES if recipe.prompts]


def texts():
    return parity.tiny_model_texts()


@pytest.mark.parametrize("name", BY_NAME)
def test_ids(models, name):
    expected = parity.reference(models / name, texts()).ids
    assert max(map(len, expected)) == make_tiny_models.TOKENS_MAX, "no text was truncated"
    parity.assert_same_ids(parity.tokenize(models / name, texts()), expected, texts())


@pytest.mark.parametrize("name", BY_NAME)
def test_vectors(models, name):
    vectors = parity.embed(models / name, texts())
    parity.assert_close(vectors, parity.reference(models / name, texts()).vectors, texts())
    parity.assert_unit_length(vectors, texts())


@pytest.mark.parametrize("option, setting", [("--prompt", "prompt_name"), ("--role", "role")])
@pytest.mark.parametrize("value", ["query", "document"])
@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_prompts(models, name, value, option, setting):
    expected = parity.reference(models / name, texts(), **{setting: value})
    ids = parity.tokenize(models / name, texts(), option, value)
    parity.assert_same_ids(ids, expected.ids, texts())
    vectors = parity.embed(models / name, texts(), option, value)
    parity.assert_close(vectors, expected.vectors, texts())


def test_lengths_are_kept_on_request(models):
    folder = models / "bert-not-normalized"
    expected = parity.reference(folder, texts(), normalize=False).vectors
    lengths = np.linalg.norm(expected, axis=1)
    assert lengths.min() > 1.5, "these vectors are too short to show a normalisation"
    # A float is as exact as it is small, so the limit grows with the largest component.
    tolerance = parity.TOLERANCE * float(np.abs(expected).max())
    parity.assert_close(
        parity.embed(folder, texts(), "--no-normalize"), expected, texts(), tolerance
    )


@pytest.mark.parametrize(
    "name, setting, value",
    [
        ("bert-gelu-new", "hidden_act", "gelu"),
        ("bert-mean", "layer_norm_eps", 1e-12),
        ("bert-mean", "num_attention_heads", 2),
        ("bert-mean", "num_hidden_layers", 2),
    ],
)
def test_a_misread_setting_would_show(models, tmp_path, name, setting, value):
    """The gate is finer than what the least of a model's settings changes."""
    other = shutil.copytree(models / name, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    assert config[setting] != value
    (other / "config.json").write_text(json.dumps(config | {setting: value}))
    with pytest.raises(AssertionError, match=r"2[34]\d of 240 vectors differ"):
        parity.assert_close(
            parity.reference(other, texts()).vectors,
            parity.reference(models / name, texts()).vectors,
            texts(),
        )


def test_a_missed_prompt_would_show(models):
    query = parity.reference(models / "bert-prompts", texts(), prompt_name="query").vectors
    document = parity.reference(models / "bert-prompts", texts()).vectors
    with pytest.raises(AssertionError, match="240 of 240 vectors differ"):
        parity.assert_close(query, document, texts())
