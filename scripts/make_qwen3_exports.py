#!/usr/bin/env python3
# In: some texts, from which a small vocabulary is learnt. Out: a tiny Qwen3 model with seeded random
# weights, and ONNX exports of it in the forms that are found on the hub.
"""Makes a tiny Qwen3 embedding model and ONNX exports of it, as strangers make them.

The folder `source` holds the model as transformers and sentence-transformers load it. Every other
folder is an export without safetensors, laid out like onnx-community/Qwen3-Embedding-0.6B-ONNX:
config.json and the tokenizer, the graphs in onnx/. In the manner of onnxruntime-genai's builder, the
graphs hold SimplifiedLayerNormalization, SkipSimplifiedLayerNormalization, RotaryEmbedding and
MultiHeadAttention (heads of keys and values repeated outside it, the causal mask as its
attention_bias) or GroupQueryAttention (lengths from the mask); they take the keys and values of
earlier tokens and give those of all tokens back. Vectors mean nothing: what counts is that two
programs give the same ones.
"""

import dataclasses
import json
import os
import pathlib
import zlib

import making
import numpy as np

HIDDEN = 64
INTERMEDIATE = 128
LAYERS = 3
HEADS = 4
HEAD_SIZE = 32  # not HIDDEN / HEADS, as in the real model
POSITIONS = 256
TOKENS_MAX = 128
VOCABULARY_MAX = 600
SPREAD = 0.2  # standard deviation of the weights; transformers starts at 0.02
BLOCK = 32  # weights that share a scale in 4- and 8-bit files
END = "<|endoftext|>"
# ONNX Runtime's own operators; SimplifiedLayerNormalization is another, in the standard's domain.
MICROSOFT = {
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "RotaryEmbedding",
    "SkipSimplifiedLayerNormalization",
}


@dataclasses.dataclass(frozen=True)
class Form:
    """What distinguishes one export's graph from the hub's."""

    name: str
    attention: str = "mha"
    past: bool = True  # takes past_key_values.*, gives present.*
    position_ids: bool = True  # an input; else made from the mask, or by the attention itself
    all_files: bool = False  # the 16-, 8- and 4-bit files too
    kv_heads: int = 2  # as many as HEADS: MultiHeadAttention keeps the past itself

    @property
    def source(self):
        return f"source-{self.kv_heads}"


FORMS = (
    Form("mha", all_files=True),
    Form("mha-without-position-ids", position_ids=False),
    Form("mha-without-past", past=False),
    Form("mha-equal-heads", kv_heads=HEADS),
    Form("gqa", attention="gqa", all_files=True),
    Form("gqa-without-position-ids", attention="gqa", position_ids=False),
    Form("gqa-without-past", attention="gqa", past=False, position_ids=False),
)


@dataclasses.dataclass(frozen=True)
class Precision:
    """The types in one file."""

    weights: type = np.float32
    output: type = np.float32
    bits: int | None = None  # of the linear layers' weights, in blocks that share a scale


PLAIN = "model"
DYNAMIC = "model_quantized"  # made from PLAIN: 8 bits, scales of activations found in every run
FILES = {
    PLAIN: Precision(),
    "model_fp16": Precision(np.float16),  # the hub's gives float too
    "model_fp16_output": Precision(np.float16, np.float16),
    "model_q4": Precision(bits=4),
    "model_q8": Precision(bits=8),
}


def files_of(form):
    return (*FILES, DYNAMIC) if form.all_files else (PLAIN,)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


# --- The model


def make_tokenizer(texts):
    """Byte pairs and a final token, as Qwen3-Embedding's, with a vocabulary learnt from the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_MAX,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}",
        pair=f"$A {END} $B:1 {END}:1",
        special_tokens=[(END, tokenizer.token_to_id(END))],
    )
    return tokenizer


def make_weights(model):
    """Every weight random and far from its usual start, so that one that is left out shows."""
    weights = {}
    for name, tensor in sorted(model.state_dict().items()):
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        values = generator.normal(0, SPREAD, tuple(tensor.shape))
        if name.endswith("norm.weight"):
            values += 1
        weights[name] = values.astype(np.float32)
    return weights


def write_description(tokenizer, folder):
    """What a source and its exports have in common, but for config.json."""
    import transformers

    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        padding_side="left",
        model_max_length=TOKENS_MAX,
    ).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, (path, kind) in enumerate(kinds.items())
    ]
    write_json(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_lasttoken": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    (folder / "2_Normalize").mkdir()
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": TOKENS_MAX})


def make_tiny_qwen3(folder, tokenizer, kv_heads=2):
    """Writes the model as a sentence-transformers folder; returns its configuration and weights."""
    import torch
    import transformers

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    end = tokenizer.token_to_id(END)
    config = transformers.Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=kv_heads,
        head_dim=HEAD_SIZE,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        rms_norm_eps=1e-6,
        pad_token_id=end,
        eos_token_id=end,
    )
    model = transformers.Qwen3Model(config)
    weights = make_weights(model)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    model.save_pretrained(folder)
    write_description(tokenizer, folder)
    return config, weights


# --- Its graphs


class Graph:
    """Nodes and constants, written down in order. A method returns the name of what it makes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.nodes, self.constants, self.inputs, self.outputs = [], {}, [], []

    def node(self, operation, inputs, output, *, more_outputs=(), **attributes):
        import onnx

        self.nodes.append(
            onnx.helper.make_node(
                operation,
                inputs,
                [output, *more_outputs],
                name=output,
                domain="com.microsoft" if operation in MICROSOFT else "",
                **attributes,
            )
        )
        return output

    def constant(self, name, values):
        import onnx

        self.constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def numbers(self, *values):
        """A vector of int64; the same numbers are kept once."""
        return self.constant("numbers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, name, values):
        return self.constant(name, values.astype(self.dtype))

    def port(self, ports, name, dtype, shape):
        import onnx

        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        ports.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        return name

    def model(self):
        import onnx

        graph = onnx.helper.make_graph(
            self.nodes, "qwen3", self.inputs, self.outputs, list(self.constants.values())
        )
        domains = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
        return onnx.helper.make_model(graph, opset_imports=domains, ir_version=10)


def quantized_blocks(weights, bits):
    """[rows, columns] -> [rows, blocks, bytes] and [rows, blocks] scales, zero in the middle."""
    blocks = weights.reshape(weights.shape[0], -1, BLOCK)
    middle = 1 << (bits - 1)
    scales = np.abs(blocks).max(axis=2) / (middle - 1)
    numbers = (np.rint(blocks / scales[:, :, None]) + middle).astype(np.uint8)
    if bits == 4:  # the first of two in the low half
        numbers = numbers[:, :, ::2] | numbers[:, :, 1::2] << 4
    return numbers, scales


class Export:
    """One graph: a form of the model, in one precision."""

    def __init__(self, form, precision, config, weights):
        self.form, self.precision, self.config, self.weights = form, precision, config, weights
        self.graph = Graph(precision.weights)
        self.rotate_inside = form.attention == "gqa" and not form.position_ids

    def build(self):
        import onnx

        graph, weights = self.graph, self.weights
        ids = graph.port(graph.inputs, "input_ids", np.int64, ["batch_size", "sequence_length"])
        mask_shape = ["batch_size", "total_sequence_length" if self.form.past else "sequence_length"]
        self.mask = graph.port(graph.inputs, "attention_mask", np.int64, mask_shape)
        if self.form.position_ids:
            shape = ["batch_size", "sequence_length"]
            self.positions = graph.port(graph.inputs, "position_ids", np.int64, shape)
        self.write_lengths(ids)
        self.write_rotary_tables()
        if self.form.attention == "mha":
            self.write_bias()

        table = graph.weight("embed_tokens", weights["embed_tokens.weight"])
        stream = graph.node("Gather", [table, ids], "embedded")
        norm = self.weights["layers.0.input_layernorm.weight"]
        normed = self.norm(stream, "layers.0.input_layernorm", norm)
        for layer in range(LAYERS):
            attended = self.attention(f"layers.{layer}.self_attn", layer, normed)
            name = f"layers.{layer}.post_attention_layernorm"
            normed, stream = self.skip_norm(name, stream, attended, weights[f"{name}.weight"])
            gated = self.gated(f"layers.{layer}.mlp", normed)
            name = f"layers.{layer + 1}.input_layernorm" if layer + 1 < LAYERS else "norm"
            normed, stream = self.skip_norm(name, stream, gated, weights[f"{name}.weight"])
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.precision.output))
        graph.node("Cast", [normed], "last_hidden_state", to=kind)
        shape = ["batch_size", "sequence_length", HIDDEN]
        graph.port(graph.outputs, "last_hidden_state", self.precision.output, shape)
        # Of the outputs, the vector's comes first; the caches were noted on the way.
        graph.outputs.insert(0, graph.outputs.pop())
        return graph.model()

    def write_lengths(self, ids):
        """[1] each: the tokens of this run, of this run and before, and before."""
        graph = self.graph
        for name, matrix in (("length", ids), ("total", self.mask)):
            shape = graph.node("Shape", [matrix], f"{name}_shape")
            graph.node("Gather", [shape, graph.numbers(1)], name, axis=0)
        graph.node("Sub", ["total", "length"], "before")
        if self.form.attention == "mha" and not self.form.position_ids:
            counted = graph.node("CumSum", [self.mask, self.scalar(1)], "counted")
            first = graph.node("Sub", [counted, graph.numbers(1)], "from_zero")
            # Padding on the left is before every position.
            first = graph.node("Max", [first, graph.numbers(0)], "not_negative")
            ends = [graph.numbers(np.iinfo(np.int64).max), graph.numbers(1)]
            self.positions = graph.node("Slice", [first, "before", *ends], "positions")

    def scalar(self, value):
        return self.graph.constant(f"scalar_{value}", np.array(value, np.int64))

    def write_rotary_tables(self):
        theta = self.config.rope_parameters["rope_theta"]
        angles = np.outer(
            np.arange(POSITIONS), theta ** -(np.arange(0, HEAD_SIZE, 2, dtype=np.float64) / HEAD_SIZE)
        )
        self.rotary = [
            self.graph.weight("cos_cache", np.cos(angles)),
            self.graph.weight("sin_cache", np.sin(angles)),
        ]

    def write_bias(self):
        """[batch, 1, length, total]: the lowest number where a token must not look, else 0."""
        import onnx

        graph = self.graph
        for name in ("total", "before"):
            graph.node("Squeeze", [name, graph.numbers(0)], f"{name}_scalar")
        ends = ["total_scalar", self.scalar(1)]
        row = graph.node("Range", ["before_scalar", *ends], "row")
        column = graph.node("Range", [self.scalar(0), *ends], "column")
        row = graph.node("Unsqueeze", [row, graph.numbers(1)], "row_column")
        later = graph.node("Greater", [column, row], "later")
        there = graph.node("Cast", [self.mask], "there", to=onnx.TensorProto.BOOL)
        padding = graph.node("Not", [there], "padding")
        padding = graph.node("Unsqueeze", [padding, graph.numbers(1, 2)], "padding_wide")
        blocked = graph.node("Or", [later, padding], "blocked")
        lowest = graph.weight("lowest", np.array(np.finfo(graph.dtype).min))
        graph.node("Where", [blocked, lowest, graph.weight("zero", np.array(0.0))], "bias")

    def norm(self, value, name, weight):
        return self.graph.node(
            "SimplifiedLayerNormalization",
            [value, self.graph.weight(f"{name}.weight", weight)],
            name,
            axis=-1,
            epsilon=self.config.rms_norm_eps,
            stash_type=1,
        )

    def skip_norm(self, name, stream, value, weight):
        total = f"{name}.sum"
        self.graph.node(
            "SkipSimplifiedLayerNormalization",
            [stream, value, self.graph.weight(f"{name}.weight", weight)],
            name,
            more_outputs=["", "", total],
            epsilon=self.config.rms_norm_eps,
        )
        return name, total

    def linear(self, name, value):
        weights = self.weights[f"{name}.weight"]
        if self.precision.bits is None:
            weight = self.graph.weight(f"{name}.weight", weights.T)
            return self.graph.node("MatMul", [value, weight], name)
        blocks, scales = quantized_blocks(weights, self.precision.bits)
        return self.graph.node(
            "MatMulNBits",
            [
                value,
                self.graph.constant(f"{name}.weight_quantized", blocks),
                self.graph.weight(f"{name}.weight_scales", scales),
            ],
            name,
            N=weights.shape[0],
            K=weights.shape[1],
            bits=self.precision.bits,
            block_size=BLOCK,
        )

    def gated(self, name, value):
        graph = self.graph
        gate, up = self.linear(f"{name}.gate_proj", value), self.linear(f"{name}.up_proj", value)
        sigmoid = graph.node("Sigmoid", [gate], f"{name}.sigmoid")
        activated = graph.node("Mul", [gate, sigmoid], f"{name}.activated")
        product = graph.node("Mul", [activated, up], f"{name}.product")
        return self.linear(f"{name}.down_proj", product)

    def normed_heads(self, name, value, heads):
        """The q or k projection, each head normalised; and turned by its position, unless inside."""
        graph = self.graph
        value = self.linear(f"{name}_proj", value)
        split = graph.node("Reshape", [value, graph.numbers(0, 0, heads, HEAD_SIZE)], f"{name}_heads")
        normed = self.norm(split, f"{name}_norm", self.weights[f"{name}_norm.weight"])
        width = heads * HEAD_SIZE
        joined = graph.node("Reshape", [normed, graph.numbers(0, 0, width)], f"{name}_joined")
        if self.rotate_inside:
            return joined
        inputs = [joined, self.positions, *self.rotary]
        return graph.node("RotaryEmbedding", inputs, f"{name}_turned")

    def caches(self, layer):
        """The names of past and present keys and values; empty ones without them."""
        if not self.form.past:
            return ["", ""], ["", ""]
        names = []
        for side, ports, length in (
            ("past_key_values", self.graph.inputs, "past_sequence_length"),
            ("present", self.graph.outputs, "total_sequence_length"),
        ):
            shape = ["batch_size", self.form.kv_heads, length, HEAD_SIZE]
            names.append(
                [
                    self.graph.port(ports, f"{side}.{layer}.{kind}", self.graph.dtype, shape)
                    for kind in ("key", "value")
                ]
            )
        return names

    def attention(self, name, layer, value):
        graph, form = self.graph, self.form
        query = self.normed_heads(f"{name}.q", value, HEADS)
        key = self.normed_heads(f"{name}.k", value, form.kv_heads)
        value = self.linear(f"{name}.v_proj", value)
        past, present = self.caches(layer)
        if form.attention == "gqa":
            self.group_query(name, [query, key, value], past, present)
        elif form.kv_heads == HEADS:
            graph.node(
                "MultiHeadAttention",
                [query, key, value, "", "", "bias", *past],
                f"{name}.attended",
                more_outputs=present,
                num_heads=HEADS,
            )
        else:
            key = self.repeated(f"{name}.key", key, past[0], present[0])
            value = self.repeated(f"{name}.value", value, past[1], present[1])
            graph.node(
                "MultiHeadAttention",
                [query, key, value, "", "", "bias"],
                f"{name}.attended",
                num_heads=HEADS,
            )
        return self.linear(f"{name}.o_proj", f"{name}.attended")

    def repeated(self, name, value, past, present):
        """[batch, length, kv_heads * size] -> [batch, total, heads * size], by way of the cache."""
        graph, kv_heads = self.graph, self.form.kv_heads
        shape = graph.numbers(0, 0, kv_heads, HEAD_SIZE)
        split = graph.node("Reshape", [value, shape], f"{name}_split")
        cache = graph.node("Transpose", [split], f"{name}_transposed", perm=[0, 2, 1, 3])
        if past:
            cache = graph.node("Concat", [past, cache], present, axis=2)
        wide = graph.node("Unsqueeze", [cache, graph.numbers(2)], f"{name}_wide")
        times = graph.numbers(1, 1, HEADS // kv_heads, 1, 1)
        wide = graph.node("Expand", [wide, times], f"{name}_expanded")
        shape = graph.numbers(0, HEADS, -1, HEAD_SIZE)
        heads = graph.node("Reshape", [wide, shape], f"{name}_all_heads")
        back = graph.node("Transpose", [heads], f"{name}_back", perm=[0, 2, 1, 3])
        return graph.node("Reshape", [back, graph.numbers(0, 0, -1)], f"{name}_repeated")

    def group_query(self, name, projections, past, present):
        import onnx

        graph, int32 = self.graph, onnx.TensorProto.INT32
        if "last" not in {node.name for node in graph.nodes}:
            count = graph.node("ReduceSum", [self.mask, graph.numbers(1)], "count", keepdims=0)
            last = graph.node("Sub", [count, graph.numbers(1)], "last_int64")
            graph.node("Cast", [last], "last", to=int32)
            graph.node("Squeeze", ["total", graph.numbers(0)], "total_int64")
            graph.node("Cast", ["total_int64"], "total_int32", to=int32)
        inputs = [*projections, *past, "last", "total_int32"]
        graph.node(
            "GroupQueryAttention",
            inputs + (self.rotary if self.rotate_inside else []),
            f"{name}.attended",
            # Its schema calls them optional, onnxruntime-genai's builder always names them.
            more_outputs=[kind or f"{name}.{index}" for index, kind in enumerate(present)],
            num_heads=HEADS,
            kv_num_heads=self.form.kv_heads,
            do_rotary=int(self.rotate_inside),
            rotary_interleaved=0,
        )


# --- Files


def save(model, path):
    """The graph, and the weights beside it in NAME.onnx_data, as on the hub."""
    import onnx

    onnx.save(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{path.name}_data",
        size_threshold=1024,
    )


def write_export(form, config, weights, tokenizer, folder):
    import onnx
    from onnxruntime import quantization

    folder.mkdir(parents=True)
    write_description(tokenizer, folder)
    config.save_pretrained(folder)
    (folder / "onnx").mkdir()
    paths = {name: folder / "onnx" / f"{name}.onnx" for name in files_of(form)}
    for name, precision in FILES.items():
        if name in paths:
            save(Export(form, precision, config, weights).build(), paths[name])
    if DYNAMIC in paths:
        quantization.quantize_dynamic(
            paths[PLAIN],
            paths[DYNAMIC],
            op_types_to_quantize=["MatMul"],
            weight_type=quantization.QuantType.QInt8,
            # What no inference of shapes finds behind ONNX Runtime's own operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def make_exports(texts, output, forms=FORMS):
    """Writes output/NAME for every form and for its source; output must not hold them yet."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    output = pathlib.Path(output)
    tokenizer = make_tokenizer(texts)
    sources = {}
    for form in forms:
        if form.source not in sources:
            folder = output / form.source
            sources[form.source] = make_tiny_qwen3(folder, tokenizer, form.kv_heads)
        write_export(form, *sources[form.source], tokenizer, output / form.name)


def main():
    making.main(__doc__, "exports", {form.name: form for form in FORMS}, make_exports)


if __name__ == "__main__":
    main()
