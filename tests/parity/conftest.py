# In: nothing. Out: what several parity tests share, made once in a session.
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import make_tiny_models  # noqa: E402
import parity  # noqa: E402  (it imports scripts/make_reference.py)


@pytest.fixture(scope="session")
def minilm():
    return parity.minilm()


@pytest.fixture(scope="session")
def many_texts():
    """1,000 glosses of WordNet and the 200 texts in other scripts."""
    return parity.glosses(1000) + parity.other_scripts()


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with one of every recipe in scripts/make_tiny_models.py; tests must not change it."""
    folder = tmp_path_factory.mktemp("models")
    # Learnt from a part of the texts, so that the rest holds words and characters unknown to them.
    make_tiny_models.make_models(parity.tiny_model_texts()[::2], folder)
    return folder
