# Goal: what parity promises holds for a task: finding a word's gloss by an example of its use among
# 600, textvec finds as many as sentence-transformers.
import re

import numpy as np
import parity

PAIRS = 600
WORDS_MIN = 6  # shorter examples say too little


def pairs():
    """Glosses and examples of nouns, the same ones every time."""
    found = []
    for gloss in parity.wordnet_glosses("noun"):
        match = re.match(r'(.*?); "(.*?)"', gloss)
        if match and len(match[2].split()) >= WORDS_MIN:
            found.append((match[1], match[2]))
    chosen = np.random.default_rng(0).permutation(len(found))[:PAIRS]
    return [found[index] for index in chosen]


def recall_at_1(vectors):
    glosses, examples = vectors[:PAIRS], vectors[PAIRS:]
    return float(np.mean((glosses @ examples.T).argmax(axis=1) == np.arange(PAIRS)))


def test_recall(minilm):
    texts = [text for side in zip(*pairs()) for text in side]
    expected = recall_at_1(parity.reference(minilm, texts).vectors)
    assert expected > 0.2, "the reference itself is not far above chance, 1 in 600"
    assert abs(recall_at_1(parity.embed(minilm, texts)) - expected) <= 0.002
