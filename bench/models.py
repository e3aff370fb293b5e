# In: model folders, the Qwen3 tokenizer. Out: the plain ONNX exports that rivals run, and how much
# arithmetic a text costs.
"""Makes what benchmarks need of a model, and counts its weights and operations."""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/parity")]

import make_qwen3  # noqa: E402
import parity  # noqa: E402
from machine import THREADS  # noqa: E402


def load_transformer(folder, attention="sdpa"):
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()


def fresh_beside(folder):
    """A name for what becomes `folder` when it is whole."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished


def export(folder, path):
    """As torch.onnx.export writes it, with nothing fused."""
    import torch

    class HiddenStates(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = load_transformer(folder, "eager")

        def forward(self, input_ids, attention_mask):
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            if config_of(folder)["model_type"] == "qwen3":
                given["use_cache"] = False
            return self.model(**given).last_hidden_state

    ids = torch.arange(24).reshape(2, 12)
    names = ["input_ids", "attention_mask", "last_hidden_state"]
    unfinished = fresh_beside(path.parent)
    unfinished.mkdir(parents=True)
    torch.onnx.export(
        HiddenStates().eval(),
        (ids, torch.ones_like(ids)),
        str(unfinished / path.name),
        input_names=names[:2],
        output_names=names[2:],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    unfinished.rename(path.parent)


def make_qwen3_in(folder):
    """A Qwen3-Embedding-0.6B with random weights, unless it is there.

    The published one is of bfloat16, and so are its numbers where other files hold float32.
    """
    if folder.exists():
        dtype = config_of(folder).get("dtype")
        if dtype != "bfloat16":
            sys.exit(f"{folder} is of {dtype}, as are the files made from it; delete them all")
        return
    unfinished = fresh_beside(folder)
    make_qwen3.make_model(parity.onnx_model("qwen3-tokenizer"), unfinished, dtype="bfloat16")
    unfinished.rename(folder)


def tokenizer_of(model):
    """The tokenizer alone: what tokenizer.json says of padding and truncation is switched off."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


# --- What a text costs


def config_of(model):
    return json.loads((pathlib.Path(model) / "config.json").read_text(encoding="utf-8"))


def layer_weights(config):
    """(of a layer, of that those whose result only attention's other tokens need)."""
    hidden = config["hidden_size"]
    if config["model_type"] == "qwen3":
        head = config["head_dim"]
        query = 2 * hidden * head * config["num_attention_heads"]
        keys = 2 * hidden * head * config["num_key_value_heads"]
        return query + keys + 3 * hidden * config["intermediate_size"], keys
    return 4 * hidden * hidden + 2 * hidden * config["intermediate_size"], 2 * hidden * hidden


def weights_per_pass(model):
    """Weights that every pass reads whole: all but the rows of tokens that it looks up."""
    config = config_of(model)
    return config["num_hidden_layers"] * layer_weights(config)[0]


def operations(config, lengths):
    """The fewest float operations that texts of these lengths need; padding is none of them.

    A multiplication and an addition are two. Of a decoder's last layer only keys and values are
    needed for every token, the rest for the last one. Norms and activations are left out.
    """
    causal = config["model_type"] == "qwen3"
    heads = config["num_attention_heads"]
    width = heads * config.get("head_dim", config["hidden_size"] // heads)
    layers = config["num_hidden_layers"]
    weights, keys = layer_weights(config)
    total = 0
    for length in lengths:
        pairs = length * (length + 1) // 2 if causal else length * length
        layer = 2 * weights * length + 4 * width * pairs
        last = 2 * keys * length + 2 * (weights - keys) + 4 * width * length if causal else layer
        total += (layers - 1) * layer + last
    return total
