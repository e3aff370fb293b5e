#!/usr/bin/env python3
# In: the real Qwen3 tokenizer. Out: a model folder as Qwen3-Embedding-0.6B's, with seeded random
# weights in the place of the trained ones.
"""Makes a Qwen3-Embedding model of full size with random weights, to measure speed and parity with.

Layout, sizes, tokenizer and prompts are those of Qwen/Qwen3-Embedding-0.6B; only the weights mean
nothing. The same seed writes the same weights. Takes 2.4 GB on disk (bfloat16: 1.2 GB).
"""

import argparse
import json
import pathlib
import sys

import numpy as np

SPREAD = 0.02  # standard deviation of the weights, as the published models start from
TASK = "Given a web search query, retrieve relevant passages that answer the query"
CONFIG = {
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151669,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
}


def make_weights(model, seed):
    import torch

    random = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = SPREAD * random.standard_normal(tuple(parameter.shape), dtype=np.float32)
            if "norm" in name:
                values += 1  # it multiplies
            parameter.copy_(torch.from_numpy(values))


def write_tokenizer(source, folder):
    """The tokenizer as the embedding model's: <|endoftext|> ends every text."""
    from tokenizers import Tokenizer
    from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    end = TemplateProcessing(
        single="$A <|endoftext|>",
        special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
    )
    own = ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = Sequence([own, end])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def write_modules(folder, dimension):
    files = {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"{package}.{kind}"}
            for package in ["sentence_transformers.models"]
            for index, (path, kind) in enumerate(
                [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
            )
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": dimension,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": f"Instruct: {TASK}\nQuery:", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def make_model(tokenizer, folder, *, dtype="float32", layers=None, seed=0, sizes=None):
    """`sizes` take the place of those in CONFIG."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = CONFIG | (sizes or {})
    if layers is not None:
        config["num_hidden_layers"] = layers
    model = transformers.Qwen3Model(transformers.Qwen3Config(**config))
    make_weights(model, seed)
    folder.mkdir(parents=True)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(tokenizer, folder)
    write_modules(folder, config["hidden_size"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tokenizer", required=True, metavar="FOLDER", help="with Qwen3's tokenizer.json"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="made; must not exist")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--layers", type=int, metavar="N", help="fewer, for a quick look (28)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the weights (0)")
    options = parser.parse_args()
    try:
        make_model(
            pathlib.Path(options.tokenizer),
            pathlib.Path(options.output),
            dtype=options.dtype,
            layers=options.layers,
            seed=options.seed,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"make_qwen3.py: {error}")


if __name__ == "__main__":
    main()
