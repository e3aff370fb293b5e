# In: nothing. Out: what several parity tests share, made once in a session.
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

import parity  # noqa: E402  (it imports scripts/make_reference.py)


@pytest.fixture(scope="session")
def minilm():
    return parity.minilm()


@pytest.fixture(scope="session")
def many_texts():
    """1,000 glosses of WordNet and the 200 texts in other scripts."""
    return parity.glosses(1000) + parity.other_scripts()
