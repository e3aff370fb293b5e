# Goal: the vectors of tokens are the hidden states of transformers, one text at a time and without
# padding.
import json
import subprocess
import urllib.request

import numpy as np
import parity
import pytest

TOLERANCE = 1e-5  # per component; a token's hidden state is some 10 long


@pytest.fixture(scope="module")
def served(minilm):
    command = [str(parity.binary()), "serve", "--port", "0", "--no-access-log", "--model",
               str(minilm)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def token_vectors(url, texts):
    asked = urllib.request.Request(url + "/embed_all", json.dumps({"inputs": texts}).encode(),
                                   {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=parity.RUN_SECONDS_MAX) as reply:
        return [np.array(text, dtype=np.float32) for text in json.load(reply)]


def hidden_states(model, ids):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


def test_they_are_the_hidden_states_of_transformers(minilm, served, many_texts):
    import torch
    import transformers

    torch.set_num_threads(parity.make_reference.THREADS)
    model = transformers.AutoModel.from_pretrained(str(minilm), dtype=torch.float32).eval()
    texts = many_texts[::10] + ["word " * 1000]
    given = [vectors for begin in range(0, len(texts), 10)
             for vectors in token_vectors(served, texts[begin:begin + 10])]
    for text, ids, vectors in zip(texts, parity.tokenize(minilm, texts), given, strict=True):
        expected = hidden_states(model, ids)
        assert vectors.shape == expected.shape, text
        assert np.abs(vectors - expected).max() <= TOLERANCE, text
