#!/usr/bin/env python3
# In: an embedding model. Out: what was checked of it, passed or failed and why, as text and JSON;
# exit code 0 when nothing failed, 1 when something did, 2 for bad usage.
"""Validates an embedding model: its files, its graph, a real run, and what textvec makes of it.

MODEL is a folder as transformers and sentence-transformers write it, with safetensors or ONNX
files, or an .onnx file with tokenizer.json beside it or one folder up.

The graph that is looked at and run is: the .onnx file given; else, with --textvec and safetensors,
the one that `textvec compile` writes; else the folder's onnx/model.onnx, model.onnx or only .onnx
file. A folder of safetensors alone is run by sentence-transformers when there is no --textvec.

How far vectors of length 1 may lie apart, by what the graph computes with; in a component, or
where "cos" stands, as 1 - cosine:
             alone and padded   textvec and Python   sentence-transformers
  f32        1e-5               2e-6                 2e-6, from 20 layers on 5e-6
  f16        2e-3               2e-3                 1e-2
  quantised  0.05 cos           1e-4                 0.05 cos
A quantised graph scales each inference by the largest value in it, so that a text's vector depends
on its neighbours: it is run a text at a time where it is compared with others.

--semantic on asks that the two sentences of each of four related pairs are closer to each other
than to any other sentence; off does not ask. auto, the default, asks from 128 components on,
because trained models have as many, and those that tests make with random weights have fewer. A
wide model with random weights fails until it is told --semantic off.

Nothing is taken from the network, no code that came with a model is run, and no pickle is opened.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import platform
import struct
import subprocess
import sys
import tempfile
import time

import make_reference
import numpy as np

# Four related pairs, one after the other.
SENTENCES = (
    "The cat is sleeping on the sofa.",
    "A kitten naps on the couch.",
    "The stock market fell sharply today.",
    "Share prices dropped a lot this afternoon.",
    "She is cooking pasta for dinner.",
    "Spaghetti is being prepared for the evening meal.",
    "The rocket was launched into space.",
    "A spacecraft lifted off towards orbit.",
)
NORM_LIMIT = 1e-6
IDENTICAL_LIMIT = 1e-6  # of 1 - cosine
DISTINCT_MIN = 1e-3  # how much the vectors of the sentences must differ in some component
SEMANTIC_DIMENSION_MIN = 128
DIMENSIONS = 768  # what vectors are cut to, or else to half of what they have

JSON_BYTES_MAX = 64 << 20
HEADER_BYTES_MAX = 100_000_000
GRAPH_BYTES_MAX = 2 << 30  # of protobuf
SHARDS_MAX = 1000
TEXTS_MAX = 1000
BATCH_TEXTS = 32
COMMAND_SECONDS_MAX = 3600
DETAIL_CHARACTERS_MAX = 600

HIDDEN_KEYS = ("hidden_size", "dim", "d_model")
LAYER_KEYS = ("num_hidden_layers", "n_layers")
WORD_TABLES = ("word_embeddings.weight", "embed_tokens.weight")
# sentence-transformers' words for what textvec pools by, and textvec's.
POOLINGS = {
    "cls": "cls",
    "mean": "mean",
    "max": "max",
    "mean_sqrt_len_tokens": "mean-sqrt-len",
    "lasttoken": "last-token",
}
OLD_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}
MODULE_KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
ACTIVATIONS = {
    "torch.nn.modules.activation.Tanh": np.tanh,
    "torch.nn.modules.linear.Identity": lambda values: values,
}
# They count positions from the row behind the padding token's.
POSITIONS_AFTER_PADDING = ("camembert", "roberta", "xlm-roberta")

CONTRIB_DOMAIN = "com.microsoft"
# ONNX Runtime has them in ONNX's own domain, where ONNX's checker knows of none.
RUNTIME_OPERATORS = ("SimplifiedLayerNormalization",)
QUANTISED_OPERATORS = {
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QLinearMatMul",
}
# As src/runtime/signature.h chooses among a graph's outputs.
POOLED_NAMES = ("sentence_embedding", "sentence_embeddings", "text_embeds", "dense_vecs")
HIDDEN_NAMES = ("last_hidden_state", "token_embeddings", "hidden_states", "last_hidden_states")


@dataclasses.dataclass(frozen=True)
class Limit:
    value: float
    cosine: bool = False  # of 1 - cosine; else of a component's difference


@dataclasses.dataclass(frozen=True)
class Limits:
    padded: Limit
    textvec: Limit
    reference: Limit


LIMITS = {
    "f32": Limits(Limit(1e-5), Limit(2e-6), Limit(2e-6)),
    "f16": Limits(Limit(2e-3), Limit(2e-3), Limit(1e-2)),
    "quantised": Limits(Limit(0.05, cosine=True), Limit(1e-4), Limit(0.05, cosine=True)),
}
DEEP_LAYERS_MIN = 20
DEEP_REFERENCE = Limit(5e-6)


class Failed(Exception):
    """What is wrong with the model, in a sentence."""


class Skipped(Exception):
    """Why there is nothing to check."""


def demand(condition, message):
    if not condition:
        raise Failed(message)


# --- Files


def demand_file(path, bytes_max):
    demand(path.is_file(), f"no file {path}")
    size = path.stat().st_size
    demand(size <= bytes_max, f"{path} has {size} bytes; the limit is {bytes_max}")


def read_json(path, kind=dict):
    demand_file(path, JSON_BYTES_MAX)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Failed(f"{path} is no JSON: {error}") from error
    demand(isinstance(value, kind), f"{path}: the top level is no {kind.__name__}")
    return value


def read_optional(path):
    return read_json(path) if path.exists() else {}


def number(config, keys, source):
    """The positive whole number under the first of the keys that is there."""
    key = next((key for key in keys if key in config), keys[0])
    value = config.get(key)
    demand(type(value) is int and value > 0, f"{source}: {key} is {value!r}; it takes 1 or more")
    return value


def inside(folder, name, source):
    """folder/name, when the name leads nowhere else."""
    demand(isinstance(name, str), f"{source}: {name!r} is no path")
    parts = pathlib.PurePosixPath(name)
    safe = not parts.is_absolute() and ".." not in parts.parts and not set("\\:\0") & set(name)
    demand(safe, f"{source}: {name[:200]!r} does not stay inside the model's folder")
    return folder / name


def find_onnx_file(folder):
    for usual in ("onnx/model.onnx", "model.onnx"):
        if (folder / usual).is_file():
            return folder / usual
    found = list(folder.glob("*.onnx"))
    return found[0] if len(found) == 1 else None


def safetensors_files(folder):
    """The files that hold a folder's tensors; none when it has no safetensors."""
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return []
    shards = read_json(index).get("weight_map")
    demand(isinstance(shards, dict) and shards, f"{index}: weight_map is no object with entries")
    paths = sorted({inside(folder, name, index) for name in shards.values()})
    demand(len(paths) <= SHARDS_MAX, f"{index} names {len(paths)} files; the limit is {SHARDS_MAX}")
    for path in paths:
        demand(path.is_file(), f"{index.name} names the shard {path}: there is none")
    names = {name for path in paths for name in check_safetensors(path)}
    missing = sorted(shards.keys() - names)
    demand(not missing, f"{index.name} names {missing[:1]}, which no shard holds")
    return paths


def check_safetensors(path):
    """Returns the names of the file's tensors."""
    import safetensors

    demand(path.is_file(), f"no file {path}")
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
    demand(len(start) == 8, f"{path} has {size} bytes; the length of its header alone takes 8")
    (length,) = struct.unpack("<Q", start)
    demand(
        length <= min(HEADER_BYTES_MAX, size - 8),
        f"{path} has {size} bytes; its header is said to have {length}, the limit being "
        f"{min(HEADER_BYTES_MAX, size - 8)}",
    )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return list(file.keys())
    except safetensors.SafetensorError as error:
        raise Failed(f"{path}, {size} bytes, is truncated or damaged: {error}") from error


def tensors_of_attribute(attribute):
    yield from [attribute.t, *attribute.tensors]
    for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
        yield from [sparse.values, sparse.indices]
    for inner in [attribute.g, *attribute.graphs]:
        yield from tensors_of(inner)


def tensors_of(graph):
    """Every tensor of an ONNX graph, those of its nodes and inner graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            yield from tensors_of_attribute(attribute)


def tensors_of_model(model):
    yield from tensors_of(model.graph)
    for function in model.functions:
        for attribute in function.attribute_proto:
            yield from tensors_of_attribute(attribute)
        for node in function.node:
            for attribute in node.attribute:
                yield from tensors_of_attribute(attribute)


def read_graph(onnx_file):
    """The graph without the weights that stand in other files, which must be there and whole."""
    import onnx

    demand_file(onnx_file, GRAPH_BYTES_MAX)
    try:
        model = onnx.load(onnx_file, load_external_data=False)
    except Exception as error:  # protobuf's own, whose name changes between its versions
        raise Failed(f"{onnx_file} is no ONNX file: {error}") from error
    ends = collections.Counter()
    for tensor in tensors_of_model(model):
        if onnx.external_data_helper.uses_external_data(tensor):
            entry = {pair.key: pair.value for pair in tensor.external_data}
            path = inside(onnx_file.parent, entry.get("location", ""), onnx_file)
            end = int(entry.get("offset", 0)) + int(entry.get("length", 0))
            ends[path] = max(ends[path], end)
    for path, end in ends.items():
        demand(path.is_file(), f"{onnx_file} keeps weights in {path}: there is no such file")
        size = path.stat().st_size
        demand(size >= end, f"{path} has {size} bytes; {onnx_file.name} wants at least {end}")
    return model


# --- What the files say


@dataclasses.dataclass
class Dense:
    weight: np.ndarray
    bias: np.ndarray | float
    activation: str

    def apply(self, vectors):
        return ACTIVATIONS[self.activation](vectors @ self.weight.T + self.bias)


@dataclasses.dataclass
class Model:
    """A model as its files describe it; filled by one check after the other."""

    path: pathlib.Path
    folder: pathlib.Path
    onnx_file: pathlib.Path | None
    transformer: pathlib.Path  # the folder of config.json and the weights
    modules: list = dataclasses.field(default_factory=list)  # pairs of a kind and a folder
    weights: list = dataclasses.field(default_factory=list)
    config: dict = dataclasses.field(default_factory=dict)
    hidden: int | None = None
    layers: int = 0
    vocabulary: int | None = None
    pooling: str = "mean"
    pool_prompt: bool = True
    prompt: str = ""
    lower_case: bool = False
    tokens_max: int = make_reference.TOKENS_MAX_ASSUMED
    tokenizer: object = None
    dense: list = dataclasses.field(default_factory=list)
    precision: str = "f32"

    def folders_of(self, kind):
        return [folder for name, folder in self.modules if name == kind]


def open_model(path):
    path = pathlib.Path(path)
    if path.is_dir():
        return Model(path, path, None, path)
    if path.is_file() and path.suffix == ".onnx":
        folder = path.absolute().parent
        if not (folder / "tokenizer.json").is_file():
            folder = folder.parent
        return Model(path, folder, path, folder)
    raise ValueError(f"{path} is neither a folder nor an .onnx file")


def read_modules(model):
    path = model.folder / "modules.json"
    if not path.exists():
        return
    for entry in read_json(path, list):
        demand(isinstance(entry, dict), f"{path}: {entry!r} is no object")
        kind, folder = str(entry.get("type")), inside(model.folder, entry.get("path"), path)
        name = kind.rpartition(".")[2]
        known = kind.startswith("sentence_transformers.") and name in MODULE_KINDS
        demand(known, f"{path}: module {kind!r} is none of {', '.join(MODULE_KINDS)}")
        model.modules.append((name, folder))
    demand(
        [name for name, _ in model.modules[:2]] == ["Transformer", "Pooling"],
        f"{path} does not begin with Transformer and Pooling",
    )
    model.transformer = model.modules[0][1]


def check_files(model):
    demand_file(model.transformer / "tokenizer.json", JSON_BYTES_MAX)
    read_modules(model)
    model.weights = safetensors_files(model.transformer)
    for folder in model.folders_of("Dense"):
        if (folder / "pytorch_model.bin").exists() and not safetensors_files(folder):
            raise Failed(f"{folder} holds a pickle, pytorch_model.bin, and no model.safetensors")
        demand_file(folder / "config.json", JSON_BYTES_MAX)
        check_safetensors(folder / "model.safetensors")
    tensors = sum(len(check_safetensors(path)) for path in model.weights)
    onnx_file = model.onnx_file or find_onnx_file(model.folder)
    if onnx_file:
        read_graph(onnx_file)
    if not model.weights and not onnx_file:
        pickle = "; pytorch_model.bin is a pickle" if list(model.folder.glob("*.bin")) else ""
        raise Failed(f"{model.folder} holds no safetensors and no ONNX file{pickle}")
    if model.weights:
        demand_file(model.transformer / "config.json", JSON_BYTES_MAX)
    found = ["tokenizer.json"]
    if model.weights:
        found.append(f"{tensors} tensors in {len(model.weights)} safetensors files")
    if onnx_file:
        found.append(f"the graph {onnx_file.name}")
    return f"{', '.join(found)}: there and whole"


def check_config(model):
    path = model.transformer / "config.json"
    if not path.exists():
        raise Skipped("no config.json, which an ONNX file does without")
    config = model.config = read_json(path)
    model.hidden = number(config, HIDDEN_KEYS, path)
    model.layers = number(config, LAYER_KEYS, path)
    model.vocabulary = number(config, ("vocab_size",), path)
    kind = config.get("model_type")
    demand(isinstance(kind, str) and kind, f"{path}: model_type is {kind!r}, no name")
    return (
        f"{kind}, {model.hidden} components, {model.layers} layers, "
        f"vocabulary of {model.vocabulary}"
    )


def read_tokens_max(model):
    """As src/model/spec.cpp: the module's limit, else the tokenizer's; never above positions."""
    positions = model.config.get("max_position_embeddings") or model.tokens_max
    if model.config.get("model_type") in POSITIONS_AFTER_PADDING:
        positions -= model.config.get("pad_token_id", 1) + 1
    for name in sorted(model.transformer.glob("sentence_*_config.json")):
        settings = read_json(name)
        model.lower_case = bool(settings.get("do_lower_case"))
        if settings.get("max_seq_length"):
            return min(number(settings, ("max_seq_length",), name), positions)
    limit = read_optional(model.transformer / "tokenizer_config.json").get("model_max_length")
    return int(min(limit or positions, positions))


def check_tokenizer(model):
    import tokenizers

    path = model.transformer / "tokenizer.json"
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises Exception itself
        raise Failed(f"{path} cannot be read: {error}") from error
    model.tokens_max = read_tokens_max(model)
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.tokens_max)
    if model.lower_case:  # as sentence-transformers does it: special tokens stay as they are
        steps = [tokenizers.normalizers.Lowercase()]
        steps += [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = tokenizers.normalizers.Sequence(steps)
    model.tokenizer = tokenizer
    id_max = max(tokenizer.get_vocab(with_added_tokens=True).values())
    settings = read_optional(model.folder / "config_sentence_transformers.json")
    name = settings.get("default_prompt_name")
    if name is not None:
        prompts = settings.get("prompts", {})
        demand(name in prompts, f"default_prompt_name is {name!r}; the prompts are {list(prompts)}")
        model.prompt = prompts[name] or ""
    if model.vocabulary is None:
        return f"ids up to {id_max}; texts of at most {model.tokens_max} tokens"
    demand(
        id_max < model.vocabulary,
        f"tokenizer.json gives ids up to {id_max}; config.json: vocab_size is {model.vocabulary}, "
        f"and must be at least {id_max + 1}",
    )
    return (
        f"ids up to {id_max} fit the vocabulary of {model.vocabulary}; "
        f"texts of at most {model.tokens_max} tokens"
    )


def pooling_mode(config):
    mode = config.get("pooling_mode")
    if mode is not None:
        modes = mode if isinstance(mode, list) else [mode]
    else:
        start = "pooling_mode_"
        keys = [key for key, value in config.items() if key.startswith(start) and value]
        modes = [OLD_POOLING_KEYS.get(key, key.removeprefix(start)) for key in keys] or ["mean"]
    demand(
        len(modes) == 1 and modes[0] in POOLINGS,
        f"pooling by {modes}; textvec pools by one of {', '.join(POOLINGS)}",
    )
    return modes[0]


def read_dense(folder):
    import safetensors

    config = read_json(folder / "config.json")
    with safetensors.safe_open(folder / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name).double().numpy() for name in file.keys()}
    demand("linear.weight" in tensors, f"{folder}/model.safetensors holds no linear.weight")
    activation = config.get("activation_function", next(iter(ACTIVATIONS)))
    demand(activation in ACTIVATIONS, f"{folder}: activation_function is {activation!r}")
    shape = [config.get("out_features"), config.get("in_features")]
    weight = tensors["linear.weight"]
    demand(
        list(weight.shape) == shape,
        f"{folder}: linear.weight is {list(weight.shape)}; config.json says {shape}",
    )
    return Dense(weight, tensors.get("linear.bias", 0.0), activation)


def check_pooling(model, asked):
    folders = model.folders_of("Pooling")
    if asked:
        model.pooling = asked
        source = "as asked for"
    elif folders:
        path = folders[0] / "config.json"
        config = read_json(path)
        model.pooling = pooling_mode(config)
        model.pool_prompt = config.get("include_prompt", True)
        key = "embedding_dimension"
        key = key if key in config else "word_embedding_dimension"
        width = number(config, (key,), path)
        demand(
            model.hidden in (None, width),
            f"{path}: {key} is {width}; config.json says {model.hidden} components",
        )
        source = f"as {path.parent.name}/config.json says"
    else:
        architectures = model.config.get("architectures") or [""]
        if architectures[0].endswith("ForCausalLM") and model.config.get("is_causal", True):
            model.pooling = "lasttoken"
        source = "which no file says and is assumed"
    width = model.hidden
    for folder in model.folders_of("Dense"):
        dense = read_dense(folder)
        outputs, inputs = dense.weight.shape
        demand(width in (None, inputs), f"{folder} takes {inputs} components and is given {width}")
        model.dense.append(dense)
        width = outputs
    layers = f", then {len(model.dense)} dense layers to {width} components" if model.dense else ""
    return f"{model.pooling}, {source}{layers}"


def check_weights(model):
    if not model.weights:
        raise Skipped("no safetensors; what an ONNX file holds shows in the run")
    import safetensors
    import torch

    values = 0
    for path in model.weights:
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                if name.endswith(WORD_TABLES):
                    shape = [model.vocabulary, model.hidden]
                    demand(
                        list(tensor.shape) == shape,
                        f"{name} is {list(tensor.shape)}; config.json says {shape}",
                    )
                if not tensor.is_floating_point():
                    continue
                values += tensor.numel()
                bad = int((~torch.isfinite(tensor)).sum())
                demand(not bad, f"{name} in {path.name}: {bad} values are NaN or infinite")
    return f"all {values} values are finite"


# --- The graph


def run_textvec(binary, *arguments):
    command = [str(binary), *map(str, arguments)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS_MAX
    )
    message = done.stderr.decode(errors="replace").strip()
    demand(
        done.returncode == 0,
        f"textvec {arguments[0]} ended with exit code {done.returncode}: {message}",
    )


def choose_graph(model, textvec, folder):
    """The ONNX file to look at, and where it comes from."""
    if model.onnx_file:
        return model.onnx_file, "the file given"
    if model.weights and textvec:
        run_textvec(textvec, "compile", "--model", model.path, "--output", folder)
        return folder / "model.onnx", "compiled by textvec"
    onnx_file = find_onnx_file(model.folder)
    if onnx_file is None:
        raise Skipped("no ONNX file; --textvec would compile one from the safetensors")
    return onnx_file, "in the folder"


def check_structure(onnx_file, graph_model):
    """By ONNX's own checker, which knows none of ONNX Runtime's operators in ONNX's domain."""
    import onnx

    if not any(node.op_type in RUNTIME_OPERATORS for node in graph_model.graph.node):
        onnx.checker.check_model(str(onnx_file))
        return
    other = onnx.ModelProto()
    other.CopyFrom(graph_model)
    for node in other.graph.node:
        if node.op_type in RUNTIME_OPERATORS:
            node.domain = CONTRIB_DOMAIN
    if CONTRIB_DOMAIN not in {opset.domain for opset in other.opset_import}:
        other.opset_import.append(onnx.helper.make_opsetid(CONTRIB_DOMAIN, 1))
    # A copy in memory has no folder in which to look for its weights: they become inputs.
    for tensor in list(other.graph.initializer):
        if onnx.external_data_helper.uses_external_data(tensor):
            other.graph.initializer.remove(tensor)
            other.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    onnx.checker.check_model(other)


def precision_of(model):
    import onnx

    if any(node.op_type in QUANTISED_OPERATORS for node in model.graph.node):
        return "quantised"
    values = collections.Counter()
    for tensor in model.graph.initializer:
        values[tensor.data_type] += int(np.prod(tensor.dims))
    half = values[onnx.TensorProto.FLOAT16]
    return "f16" if half > values[onnx.TensorProto.FLOAT] else "f32"


def count_operators(model):
    names = (
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"
        for node in model.graph.node
    )
    return dict(collections.Counter(names).most_common())


def check_graph(model, onnx_file, source, graph):
    graph_model = read_graph(onnx_file)
    operators = count_operators(graph_model)
    nodes = sum(operators.values())
    demand(nodes > 0, f"{onnx_file} holds no nodes")
    contrib = sum(
        count
        for name, count in operators.items()
        if name.startswith(CONTRIB_DOMAIN + ":") or name in RUNTIME_OPERATORS
    )
    model.precision = precision_of(graph_model)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in graph_model.opset_import}
    graph |= {
        "file": str(onnx_file),
        "source": source,
        "precision": model.precision,
        "opsets": opsets,
        "nodes": nodes,
        "operators": operators,
        "contrib_share": contrib / nodes,
    }
    check_structure(onnx_file, graph_model)
    versions = ", ".join(f"{domain} {version}" for domain, version in opsets.items())
    return (
        f"{source}; {nodes} nodes of {len(operators)} operators, {contrib} of them "
        f"({contrib / nodes:.0%}) contrib; {model.precision}; opset {versions}"
    )


def open_session(onnx_file):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = make_reference.THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(onnx_file), options, providers=["CPUExecutionProvider"]
    )


def choose_output(nodes):
    """As src/runtime/signature.h: a pooled vector by name, hidden states, any pooled vector."""
    floats = [node for node in nodes if node.type in make_reference.FLOATS]
    by_rank = {rank: [node for node in floats if len(node.shape) == rank] for rank in (2, 3)}
    candidates = [node for name in POOLED_NAMES for node in by_rank[2] if node.name == name]
    candidates += [node for name in HIDDEN_NAMES for node in by_rank[3] if node.name == name]
    candidates += by_rank[3] + by_rank[2]
    demand(candidates, f"none of the {len(nodes)} outputs is a float tensor of rank 2 or 3")
    return candidates[0]


def describe_ports(nodes):
    return [{"name": node.name, "type": node.type, "shape": node.shape} for node in nodes]


def check_session(model, session, graph):
    inputs, outputs = session.get_inputs(), session.get_outputs()
    graph |= {"inputs": describe_ports(inputs), "outputs": describe_ports(outputs)}
    one = np.ones((1, 1), np.int64)
    make_reference.make_feed(inputs, one, one, one)  # says what it cannot feed
    output = choose_output(outputs)
    width = output.shape[-1]
    graph |= {"output": output.name, "pooled": len(output.shape) == 2}
    known = model.hidden is None or not isinstance(width, int)
    demand(
        known or width == model.hidden,
        f"output {output.name} is {output.shape}; config.json says {model.hidden} components",
    )
    ports = ", ".join(f"{node.name} {node.type}" for node in inputs[:4])
    more = f" and {len(inputs) - 4} more" if len(inputs) > 4 else ""
    return f"takes {ports}{more}; gives {output.name} {output.shape}"


# --- The run


class GraphRunner:
    """Texts to vectors by ONNX Runtime, and by NumPy what comes behind the graph."""

    def __init__(self, model, session):
        self.model = model
        self.session = session
        self.output = choose_output(session.get_outputs())

    def prefix(self):
        """How many of a text's first tokens are its prompt's, and not pooled."""
        if self.model.pool_prompt or not self.model.prompt:
            return 0
        encoding = self.model.tokenizer.encode(self.model.prompt)
        # sentence-transformers leaves out what closes a text.
        return len(encoding.ids) - encoding.special_tokens_mask[-1]

    def batch(self, texts):
        encodings = self.model.tokenizer.encode_batch([self.model.prompt + text for text in texts])
        lengths = [len(encoding.ids) for encoding in encodings]
        demand(min(lengths) > 0, f"{texts[np.argmin(lengths)][:80]!r} has no tokens")
        # Ids, mask and types; what is behind a text's end is 0.
        arrays = np.zeros((3, len(texts), max(lengths)), np.int64)
        for row, (encoding, length) in enumerate(zip(encodings, lengths)):
            arrays[:, row, :length] = encoding.ids, encoding.attention_mask, encoding.type_ids
        feed = make_reference.make_feed(self.session.get_inputs(), *arrays)
        (states,) = self.session.run([self.output.name], feed)
        states = states.astype(np.float32)
        if states.ndim == 2:
            return states.astype(np.float64)
        demand(
            states.shape[:2] == arrays.shape[1:],
            f"{self.output.name} has the shape {states.shape} for ids of {arrays.shape[1:]}",
        )
        pool, prefix = make_reference.POOLINGS[self.model.pooling], self.prefix()
        rows = [pool(row[min(prefix, n - 1) : n]) for row, n in zip(states, lengths)]
        return np.stack(rows)

    def embed(self, texts, batch_texts):
        parts = [
            self.batch(texts[begin : begin + batch_texts])
            for begin in range(0, len(texts), batch_texts)
        ]
        vectors = np.concatenate(parts)
        if self.model.hidden is not None:
            width = vectors.shape[1]
            demand(
                width == self.model.hidden,
                f"the graph gives {width} components; config.json says {self.model.hidden}",
            )
        for dense in self.model.dense:
            vectors = dense.apply(vectors)
        return vectors


class ReferenceRunner:
    """Texts to vectors by sentence-transformers."""

    def __init__(self, model):
        self.transformer = make_reference.open_sentence_transformer(model.folder)

    def embed(self, texts, batch_texts):
        vectors = self.transformer.encode(
            texts, batch_size=batch_texts, normalize_embeddings=False, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float64)


def normalized(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def demand_numbers(vectors, texts, whose):
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        count = int((~np.isfinite(vectors[bad[0]])).sum())
        raise Failed(
            f"{whose} of {bad.size} of {len(texts)} texts hold NaN or infinity; the first is "
            f"{texts[bad[0]][:60]!r}, with {count} of {vectors.shape[1]} components"
        )
    zero = np.flatnonzero(np.linalg.norm(vectors, axis=1) == 0)
    demand(not zero.size, f"{whose} of {zero.size} of {len(texts)} texts are all zero")


def demand_unit_length(vectors):
    off = float(np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max())
    demand(off <= NORM_LIMIT, f"a vector's length is off 1 by {off:.3g}; the limit is {NORM_LIMIT}")
    return f"lengths are off 1 by at most {off:.2g}; the limit is {NORM_LIMIT}"


def demand_close(ours, theirs, limit, texts, what):
    demand(
        ours.shape == theirs.shape,
        f"{what}: vectors {list(ours.shape)} and {list(theirs.shape)} cannot be compared",
    )
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if limit.cosine:
        off, measure = 1 - (ours * theirs).sum(axis=1), "1 - cosine"
    else:
        off, measure = np.abs(ours - theirs).max(axis=1), "difference"
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
    said = f"{what}: the largest {measure} is {off[worst]:.2g}; the limit is {limit.value:g}"
    demand(off[worst] <= limit.value, f"{said}; the text is {texts[worst][:60]!r}")
    return said


def check_semantic(vectors, asked):
    dimension = vectors.shape[1]
    if asked == "off":
        raise Skipped("--semantic off")
    if asked == "auto" and dimension < SEMANTIC_DIMENSION_MIN:
        raise Skipped(
            f"{dimension} components: below {SEMANTIC_DIMENSION_MIN} the weights are taken for a "
            "test's random ones; --semantic on asks all the same"
        )
    vectors = vectors[: len(SENTENCES)].astype(np.float64)
    cosines = vectors @ vectors.T
    related = np.array([cosines[row, row ^ 1] for row in range(len(SENTENCES))])
    for row in range(len(SENTENCES)):
        cosines[row, [row, row ^ 1]] = -np.inf
    other = cosines.max(axis=1)
    worst = int(np.argmin(related - other))
    said = (
        f"{SENTENCES[worst]!r} has a cosine of {related[worst]:.3f} to its pair and of "
        f"{other[worst]:.3f} to {SENTENCES[int(np.argmax(cosines[worst]))]!r}"
    )
    demand(related[worst] > other[worst], f"{said}; the first must be larger")
    return f"all pairs stand together; the least clear: {said}"


def check_distinct(runner, vectors):
    again = normalized(runner.embed([SENTENCES[0]], 1)).astype(np.float64)
    off = abs(1 - float(again[0] @ vectors[0].astype(np.float64)))
    demand(
        off <= IDENTICAL_LIMIT,
        f"the same text twice: 1 - cosine is {off:.2g}; the limit is {IDENTICAL_LIMIT}",
    )
    sentences = vectors[: len(SENTENCES)]
    spread = float((sentences.max(axis=0) - sentences.min(axis=0)).max())
    demand(
        spread >= DISTINCT_MIN,
        f"{len(SENTENCES)} different texts: no component differs by more than {spread:.2g}; "
        f"it must by {DISTINCT_MIN}",
    )
    return (
        f"the same text twice: 1 - cosine is {off:.2g}, the limit {IDENTICAL_LIMIT}; different "
        f"texts: a component differs by {spread:.2g}, which must be {DISTINCT_MIN}"
    )


# --- textvec


def embed_with_textvec(binary, model, texts, folder, pooling, *arguments):
    source, output = folder / "texts.jsonl", folder / "vectors.npy"
    with open(source, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    if pooling:
        arguments += ("--pooling", POOLINGS[pooling])
    if model.precision == "quantised":
        arguments += ("--batch-tokens", 1)
    arguments += ("--format", "npy", "--output", output)
    run_textvec(binary, "embed", "--model", model.path, "--input", source, *arguments)
    return np.load(output, allow_pickle=False)


def check_dimensions(vectors, embed):
    native = vectors.shape[1]
    if native == 1:
        raise Skipped("vectors of one component cannot be cut")
    dimensions = DIMENSIONS if native > DIMENSIONS else native // 2
    ours = embed("--dimensions", dimensions)
    demand(
        ours.shape == (len(vectors), dimensions),
        f"--dimensions {dimensions} gives vectors {list(ours.shape)}",
    )
    return dimensions, ours, make_reference.cut(vectors, dimensions, normalize=True)


# --- All of it


class Report:
    def __init__(self, model):
        self.model = str(model)
        self.checks = []
        self.graph = {}

    def check(self, name, function, *needs):
        """Runs a check whose `needs` have not failed; returns whether what follows can rely on it.

        An error that nobody foresaw is the model's failure too, since strangers write models.
        """
        began = time.perf_counter()
        unmet = [check["name"] for check in self.checks if check["name"] in needs]
        unmet = [name for name in unmet if not self.usable(name)]
        try:
            if unmet:
                raise Skipped(f"it needs {unmet[0]}, which has not passed")
            passed, detail = True, function()
        except Skipped as reason:
            passed, detail = None, str(reason)
        except Failed as error:
            passed, detail = False, str(error)
        except Exception as error:
            passed, detail = False, f"{type(error).__name__}: {error}"
        detail = "".join(c if c.isprintable() else " " for c in " ".join(detail.split()))
        if len(detail) > DETAIL_CHARACTERS_MAX:
            detail = detail[:DETAIL_CHARACTERS_MAX] + "..."
        seconds = round(time.perf_counter() - began, 3)
        entry = {"name": name, "passed": passed, "detail": detail, "seconds": seconds}
        self.checks.append(entry | {"unmet": bool(unmet)})
        return self.usable(name)

    def usable(self, name):
        check = next(check for check in self.checks if check["name"] == name)
        return check["passed"] is not False and not check["unmet"]

    def failed(self):
        return [check["name"] for check in self.checks if check["passed"] is False]

    def as_json(self):
        import onnx

        keys = ("name", "passed", "detail", "seconds")
        return {
            "model": self.model,
            "checks": [{key: check[key] for key in keys} for check in self.checks],
            "graph": self.graph,
            "machine": {
                "system": platform.platform(),
                "architecture": platform.machine(),
                "cores": os.cpu_count(),
            },
            "versions": make_reference.library_versions()
            | {"onnx": onnx.__version__, "python": platform.python_version()},
        }

    def as_text(self):
        words = {True: "passed", False: "FAILED", None: "skipped"}
        lines = [self.model]
        for check in self.checks:
            status, seconds = words[check["passed"]], check["seconds"]
            lines.append(f"  {status:8}{check['name']:12}{seconds:7.2f} s  {check['detail']}")
        operators = self.graph.get("operators", {})
        if operators:
            counted = ", ".join(f"{name} {count}" for name, count in operators.items())
            lines.append(f"  {'operators':20}{counted}")
        counts = collections.Counter(words[check["passed"]] for check in self.checks)
        lines.append("  " + ", ".join(f"{count} {word}" for word, count in counts.items()))
        return "\n".join(lines) + "\n"


class Validation:
    """One model's checks, in their order, and what they hand on to each other."""

    def __init__(self, options, texts, folder):
        self.options = options
        self.texts = [*SENTENCES, *texts]
        self.folder = pathlib.Path(folder)
        self.model = open_model(options.model)
        self.report = Report(options.model)
        self.onnx_file = None
        self.runner = None
        self.vectors = None

    def run(self):
        check, model = self.report.check, self.model
        check("files", lambda: check_files(model))
        check("config", lambda: check_config(model), "files")
        check("tokenizer", lambda: check_tokenizer(model), "files", "config")
        check("pooling", lambda: check_pooling(model, self.options.pooling), "files", "config")
        described = ("files", "config", "tokenizer", "pooling")
        check("weights", lambda: check_weights(model), "files", "config")
        check("graph", self.check_graph, *described)
        check("session", self.check_session, *described, "graph")
        check("run", self.check_run, *described, "graph", "session")
        check("norm", lambda: demand_unit_length(self.vectors), "run")
        check("padded", self.check_padded, "run")
        check("distinct", lambda: check_distinct(self.runner, self.vectors), "run")
        check("semantic", lambda: check_semantic(self.vectors, self.options.semantic), "run")
        check("textvec", self.check_textvec, "run")
        check("dimensions", self.check_dimensions, "run", "textvec")
        check("reference", self.check_reference, "run")
        return self.report

    def check_graph(self):
        onnx_file, source = choose_graph(self.model, self.options.textvec, self.folder)
        detail = check_graph(self.model, onnx_file, source, self.report.graph)
        self.onnx_file = onnx_file
        return detail

    def check_session(self):
        if self.onnx_file is None:
            raise Skipped("no ONNX graph")
        session = open_session(self.onnx_file)
        detail = check_session(self.model, session, self.report.graph)
        self.runner = GraphRunner(self.model, session)
        return detail

    def check_run(self):
        if self.runner is None:
            demand(self.model.weights, "neither an ONNX graph nor safetensors to run")
            self.runner = ReferenceRunner(self.model)
        vectors = self.runner.embed(self.texts, 1)
        demand_numbers(vectors, self.texts, "the vectors")
        self.vectors = normalized(vectors)
        by = "ONNX Runtime" if self.onnx_file else "sentence-transformers"
        texts, dimension = vectors.shape
        return f"{texts} texts by {by}: {dimension} components each, all finite, none all zero"

    def check_padded(self):
        together = self.runner.embed(self.texts, BATCH_TEXTS)
        demand_numbers(together, self.texts, "the vectors in a padded batch")
        limit = LIMITS[self.model.precision].padded
        return demand_close(
            normalized(together), self.vectors, limit, self.texts, "alone and in a padded batch"
        )

    def embed(self, *arguments):
        if not self.options.textvec:
            raise Skipped("no --textvec")
        settings = (self.options.textvec, self.model, self.texts, self.folder)
        return embed_with_textvec(*settings, self.options.pooling, *arguments)

    def check_textvec(self):
        ours = self.embed()
        limit = LIMITS[self.model.precision].textvec
        detail = demand_close(ours, self.vectors, limit, self.texts, "textvec and Python")
        return f"{detail}; {demand_unit_length(ours)}"

    def check_dimensions(self):
        dimensions, ours, expected = check_dimensions(self.vectors, self.embed)
        # What is cut is made longer again, and its error with it.
        shortest = np.linalg.norm(self.vectors[:, :dimensions].astype(np.float64), axis=1).min()
        limit = dataclasses.replace(
            LIMITS[self.model.precision].textvec,
            value=LIMITS[self.model.precision].textvec.value / float(shortest),
        )
        detail = demand_close(ours, expected, limit, self.texts, f"cut to {dimensions} components")
        return f"{detail}; {demand_unit_length(ours)}"

    def check_reference(self):
        if self.options.reference == "none":
            raise Skipped("--reference none")
        if not self.model.weights:
            raise Skipped("no safetensors for sentence-transformers to load")
        if self.onnx_file is None:
            raise Skipped("the run was by sentence-transformers itself")
        if self.options.pooling:
            raise Skipped("--pooling, which sentence-transformers is not told")
        expected = ReferenceRunner(self.model).embed(self.texts, BATCH_TEXTS)
        demand_numbers(expected, self.texts, "sentence-transformers' vectors")
        deep = self.model.layers >= DEEP_LAYERS_MIN and self.model.precision == "f32"
        limit = DEEP_REFERENCE if deep else LIMITS[self.model.precision].reference
        return demand_close(
            self.vectors,
            normalized(expected),
            limit,
            self.texts,
            "the graph and sentence-transformers",
        )


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a model folder or an .onnx file")
    parser.add_argument("--json", metavar="FILE", help="the report as JSON; - is standard output")
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help=f'.jsonl with {{"text": ...}}, at most {TEXTS_MAX}, beside the built-in sentences',
    )
    parser.add_argument("--textvec", metavar="BINARY", help="compiles, embeds and is compared")
    parser.add_argument(
        "--reference",
        choices=("auto", "none"),
        default="auto",
        help="auto compares with sentence-transformers where it can load the folder (auto)",
    )
    parser.add_argument("--semantic", choices=("auto", "on", "off"), default="auto", help="(auto)")
    parser.add_argument(
        "--pooling",
        choices=tuple(POOLINGS),
        help="instead of what the files say; an ONNX file without others is pooled by the mean",
    )
    return parser, parser.parse_args(arguments)


def main(arguments=None):
    parser, options = parse_arguments(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    texts = []
    try:
        if options.texts:
            texts = make_reference.read_texts(options.texts)
            if len(texts) > TEXTS_MAX:
                raise ValueError(f"{options.texts} holds {len(texts)} texts; at most {TEXTS_MAX}")
        if options.textvec:
            options.textvec = os.path.abspath(options.textvec)  # not looked up in PATH
            if not os.path.isfile(options.textvec) or not os.access(options.textvec, os.X_OK):
                raise ValueError(f"{options.textvec} is no program")
        open_model(options.model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="textvec-validate-") as folder:
        report = Validation(options, texts, folder).run()
    text = report.as_text()
    (sys.stderr if options.json == "-" else sys.stdout).write(text)
    if options.json:
        value = json.dumps(report.as_json(), indent=2) + "\n"
        try:
            if options.json == "-":
                sys.stdout.write(value)
            else:
                pathlib.Path(options.json).write_text(value, encoding="utf-8")
        except OSError as error:
            parser.error(f"the report cannot be written: {error}")
    sys.exit(1 if report.failed() else 0)


if __name__ == "__main__":
    main()
