# In: the small tokenizer of tests/data. Out: the folder of a Qwen3 so small that it loads at once.
import pathlib
import shutil

import numpy
from command_line import ROOT
from tiny_folder import write_json, write_safetensors

HIDDEN = 32
HEADS, KEY_VALUE_HEADS, HEAD_SIZE = 4, 2, 16
INNER = 64
TOKENS_MAX = 64
VOCABULARY = 903
END = 900  # <|endoftext|>
QUERY = "Instruct: Find it\nQuery:"


def tensors():
    random = numpy.random.default_rng(20240301)

    def normal(*shape):
        return random.normal(0, 0.2, shape).astype("<f4")

    layer = "layers.0."
    named = {
        "embed_tokens.weight": normal(VOCABULARY, HIDDEN),
        layer + "self_attn.q_proj.weight": normal(HEADS * HEAD_SIZE, HIDDEN),
        layer + "self_attn.k_proj.weight": normal(KEY_VALUE_HEADS * HEAD_SIZE, HIDDEN),
        layer + "self_attn.v_proj.weight": normal(KEY_VALUE_HEADS * HEAD_SIZE, HIDDEN),
        layer + "self_attn.o_proj.weight": normal(HIDDEN, HEADS * HEAD_SIZE),
        layer + "mlp.gate_proj.weight": normal(INNER, HIDDEN),
        layer + "mlp.up_proj.weight": normal(INNER, HIDDEN),
        layer + "mlp.down_proj.weight": normal(HIDDEN, INNER),
    }
    for name in ["q_norm", "k_norm"]:
        named[f"{layer}self_attn.{name}.weight"] = numpy.ones(HEAD_SIZE, "<f4")
    for name in [layer + "input_layernorm", layer + "post_attention_layernorm", "norm"]:
        named[name + ".weight"] = numpy.ones(HIDDEN, "<f4")
    return named


def write_tiny_qwen3(folder):
    """Of sentence-transformers: last token, a prompt for queries, 64 tokens, 32 components."""
    folder = pathlib.Path(folder)
    write_json(
        folder / "config.json",
        {
            "model_type": "qwen3",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "num_hidden_layers": 1,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_VALUE_HEADS,
            "head_dim": HEAD_SIZE,
            "intermediate_size": INNER,
            "max_position_embeddings": TOKENS_MAX,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1e6,
            "hidden_act": "silu",
        },
    )
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_lasttoken": True}
    write_json(folder / "1_Pooling/config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": TOKENS_MAX})
    prompts = {"query": QUERY, "document": ""}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    shutil.copy(ROOT / "tests/data/tokenizers/byte_level.json", folder / "tokenizer.json")
    write_safetensors(folder / "model.safetensors", tensors())
    return folder
