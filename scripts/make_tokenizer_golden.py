#!/usr/bin/env python3
# In: WordNet's glosses and tests/data/texts. Out: tests/data/tokenizers: small tokenizers, and the
# ids that the Python tokenizers package gives for many texts, against which textvec is tested.
"""Writes tests/data/tokenizers/golden_*.json, and with --train the tokenizers themselves.

A golden file holds, per text, the ids and type ids, the ids of the lower-cased text where they
differ, and both decoded forms; for some texts also what enable_truncation gives at every limit from
the number of special tokens to one above the text's length, on both sides.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib

# Before tokenizers is imported: training must see the texts in one order.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import (  # noqa: E402
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/data/tokenizers"
TEXTS = ROOT / "tests/data/texts/other_scripts.jsonl"
WORDNET = pathlib.Path(os.environ.get("TEXTVEC_WORDNET", "/usr/share/wordnet"))

GLOSSES = 1500  # of the training texts
TEXT_BYTES_MAX = 120  # of a golden text, because golden files are committed
# Splits as Qwen's tokenizers do: contractions, words, single digits, signs, white space.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OWN_TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "the \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 of \u0130stanbul, \u1e9e and \u01c5",
    "it's THEY'LL we\u2019ve 12345 ...\r\n\r\n\t  end  ",
    "[CLS] a [SEP] b [MASK][PAD] [cls]",
    "<s> a </s> b <mask> <unk> <S>",
    "<|endoftext|> a <|im_start|>b<|IM_START|> <think>c</think>",
    "a\u0000b\u0000",
    "\ufeffa\ufffdb\uffff",
]
# Texts whose truncation is recorded at every limit.
CUT_TEXTS = [
    "",
    "a",
    "a small house by the sea",
    "x[SEP]y<|endoftext|>z</s>",
    "\u5bb6 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \u05e9\u05dc\u05d5\u05dd",
]


def read_glosses():
    lines = (WORDNET / "data.noun").read_text("utf-8").splitlines()
    glosses = [line.split("|", 1)[1].strip() for line in lines if not line.startswith("  ")]
    return glosses[:: len(glosses) // GLOSSES][:GLOSSES]


def read_texts():
    lines = TEXTS.read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def make_wordpiece(texts):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=1400, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    # Like all-MiniLM-L6-v2's file; whoever reads it has to switch both off.
    tokenizer.enable_truncation(max_length=6)
    tokenizer.enable_padding(length=6, pad_id=0, pad_token="[PAD]")
    return tokenizer


def make_byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=900,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>"])
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False, use_regex=False, add_prefix_space=False),
            processors.TemplateProcessing(
                single="$A <|endoftext|>",
                pair="$A <|endoftext|> $B:1 <|endoftext|>:1",
                special_tokens=[("<|endoftext|>", end)],
            ),
        ]
    )
    return tokenizer


def make_unigram(texts):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=1000, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


MAKERS = {"wordpiece": make_wordpiece, "byte_level": make_byte_level, "unigram": make_unigram}


def truncations(tokenizer, text):
    added = tokenizer.num_special_tokens_to_add(False)
    length = len(tokenizer.encode(text).ids)
    for limit in range(max(added, 1), length + 2):
        for side in ("right", "left"):
            tokenizer.enable_truncation(max_length=limit, direction=side)
            yield [limit, side, tokenizer.encode(text).ids]
    tokenizer.no_truncation()


def lower_casing(tokenizer):
    """What sentence-transformers' Transformer module makes of it for do_lower_case."""
    lower = Tokenizer.from_str(tokenizer.to_str())
    own = lower.normalizer
    parts = list(own) if isinstance(own, normalizers.Sequence) else [own] if own else []
    if not any(isinstance(part, normalizers.Lowercase) for part in parts):
        lower.normalizer = normalizers.Sequence([normalizers.Lowercase(), *parts])
    return lower


def golden_case(tokenizer, lower, text):
    encoding = tokenizer.encode(text)
    ids = encoding.ids
    case = {"text": text, "ids": ids}
    if any(encoding.type_ids):
        case["type_ids"] = encoding.type_ids
    lower_ids = lower.encode(text).ids
    if lower_ids != ids:
        case["lower_ids"] = lower_ids
    case["decoded"] = tokenizer.decode(ids, skip_special_tokens=False)
    case["decoded_plain"] = tokenizer.decode(ids, skip_special_tokens=True)
    if text in CUT_TEXTS:
        case["truncated"] = list(truncations(tokenizer, text))
    return case


def write_golden(name, texts):
    tokenizer = Tokenizer.from_file(str(FOLDER / f"{name}.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lower = lower_casing(tokenizer)
    added = tokenizer.get_added_tokens_decoder()
    about = {
        "made_by": "tokenizers " + importlib.metadata.version("tokenizers"),
        "tokenizer": f"{name}.json",
        "vocabulary_size": tokenizer.get_vocab_size(with_added_tokens=True),
        "id_max": max(tokenizer.get_vocab(with_added_tokens=True).values()),
        "special_ids": sorted(id for id, token in added.items() if token.special),
        "special_tokens_added": tokenizer.num_special_tokens_to_add(False),
    }
    # One case a line, so that a change of one id is a change of one line.
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in about.items()]
    cases = [json.dumps(golden_case(tokenizer, lower, text), separators=(",", ":")) for text in texts]
    body = "\n".join(["{", *lines, '"cases": [', ",\n".join(cases), "]}", ""])
    (FOLDER / f"golden_{name}.json").write_text(body, "ascii")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--train",
        action="store_true",
        help="make the tokenizers anew; needs WordNet; ids change, because training breaks ties by chance",
    )
    arguments = parser.parse_args()
    texts = read_texts()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.train:
        for name, make in MAKERS.items():
            make(read_glosses() + texts).save(str(FOLDER / f"{name}.json"), pretty=False)
    short = [text for text in texts if len(text.encode()) <= TEXT_BYTES_MAX]
    golden_texts = list(dict.fromkeys(CUT_TEXTS + OWN_TEXTS + short))
    for name in MAKERS:
        write_golden(name, golden_texts)


if __name__ == "__main__":
    main()
