# In: MiniLM's tokenizer. Out: the folder of a BERT so small that reading and writing take the time.
import json
import pathlib
import shutil
import struct

import numpy

from command_line import MINILM

HIDDEN = 32
TOKENS_MAX = 64
PROMPTS = {"query": "search for: ", "passage": "stored: "}


def tensors(vocabulary_size, tokens_max=TOKENS_MAX):
    random = numpy.random.default_rng(20240229)

    def normal(*shape):
        return random.normal(0, 0.2, shape).astype("<f4")

    named = {
        "embeddings.word_embeddings.weight": normal(vocabulary_size, HIDDEN),
        "embeddings.position_embeddings.weight": normal(tokens_max, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
    }
    layer = "encoder.layer.0."
    squares = ["attention.self.query", "attention.self.key", "attention.self.value"]
    for name in [*squares, "attention.output.dense"]:
        named[layer + name + ".weight"] = normal(HIDDEN, HIDDEN)
        named[layer + name + ".bias"] = normal(HIDDEN)
    named[layer + "intermediate.dense.weight"] = normal(2 * HIDDEN, HIDDEN)
    named[layer + "intermediate.dense.bias"] = normal(2 * HIDDEN)
    named[layer + "output.dense.weight"] = normal(HIDDEN, 2 * HIDDEN)
    named[layer + "output.dense.bias"] = normal(HIDDEN)
    norms = ["embeddings.", layer + "attention.output.", layer + "output."]
    for name in norms:
        named[name + "LayerNorm.weight"] = numpy.ones(HIDDEN, "<f4")
        named[name + "LayerNorm.bias"] = normal(HIDDEN)
    return named


def write_safetensors(file, named):
    header, offset = {}, 0
    for name, tensor in named.items():
        end = offset + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    data = b"".join(tensor.tobytes() for tensor in named.values())
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_json(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def write_tiny_folder(folder, tokens_max=TOKENS_MAX):
    """A sentence-transformers folder: mean pooling, two prompts, 64 tokens, 32 components."""
    folder = pathlib.Path(folder)
    vocabulary = json.loads((pathlib.Path(MINILM) / "tokenizer.json").read_text())["model"]["vocab"]
    write_json(
        folder / "config.json",
        {
            "model_type": "bert",
            "vocab_size": len(vocabulary),
            "hidden_size": HIDDEN,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 2 * HIDDEN,
            "max_position_embeddings": tokens_max,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        },
    )
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": tokens_max, "do_lower_case": False},
    )
    write_json(folder / "config_sentence_transformers.json", {"prompts": PROMPTS})
    write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {
                "idx": 1,
                "name": "1",
                "path": "1_Pooling",
                "type": "sentence_transformers.models.Pooling",
            },
        ],
    )
    write_json(
        folder / "1_Pooling/config.json",
        {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True},
    )
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(pathlib.Path(MINILM) / name, folder / name)
    write_safetensors(folder / "model.safetensors", tensors(len(vocabulary), tokens_max))
    return folder
