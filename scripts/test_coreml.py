#!/usr/bin/env python3
# In: a model and the textvec binary. Out: whether CoreML takes the model's static graphs whole, how
# exact they are in both precisions, and, on a Mac, how fast; exit code 0 when every check passed.
"""Checks the static graphs of a model for ONNX Runtime's CoreML provider.

Everywhere:
  - writes every bucket in f32 and f16, and asks ONNX Runtime's own partitioning how many nodes of
    each CoreML would take and in how many partitions: all, and 1. The table of operators is the one
    that ONNX Runtime ships, with what it leaves out put in and with the rules that the provider's
    sources have beside it. The f32 graphs are asked about again as ONNX Runtime rewrites them
    before it hands them over;
  - runs texts through the binary, static against fused: no component may differ by more than 2e-6;
  - runs the f16 graph with every tensor rounded to 16 bits, as a device does that computes with
    them: cosine at least 0.9995 to f32, and nothing above 65,504 on any edge.

On macOS also, with onnxruntime's CoreMLExecutionProvider, for each of the compute units:
  - whether the whole graph is placed there (anything on the processor is an error), the time to
    make a session with an empty and with a filled cache, the first and the median run, and the
    cosine of the results to the processor's. This part was written without a Mac at hand and has
    not been run.

usage: scripts/test_coreml.py --model M [--work FOLDER] [--json FILE]
with the Python that scripts/setup --tests made; TEXTVEC_BINARY names the binary.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
RANK_MAX = 5
HALF_MAX = 65504.0
HALF_COSINE_MIN = 0.9995
COREML_COSINE_MIN = 0.999
TOLERANCE = 2e-6
RUN_SECONDS_MAX = 1800
WARM_RUNS = 20
UNITS = ("ALL", "CPUAndGPU", "CPUAndNeuralEngine")
TEXTS = (
    "what is a vector",
    "The cat is sleeping on the sofa.",
    "A kitten naps on the couch.",
    "Share prices dropped a lot this afternoon, and nobody could say whether the fall had ended.",
    "na\u00efve caf\u00e9 \u6771\u4eac\u90fd \U0001f600",
    "x",
    "Spaghetti is being prepared for the evening meal while the guests look for the corkscrew.",
    "def add(a, b):\n    return a + b",
)
LONG_TEXTS = ("; ".join(TEXTS * 10),)


# --- What CoreML takes

# Builders that the provider has and the table in the package leaves out or misspells.
LEFT_OUT = (
    "ArgMax", "BatchNormalization", "Flatten", "Gather", "LRN", "Pad", "ReduceMin", "ReduceProd"
)  # fmt: skip
# Inputs that must be constants, by their index.
CONSTANT_INPUTS = {
    "Gemm": (1, 2),
    "Pad": (1, 2, 3),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}


class Rules:
    """In the place of the tool's own table: the same question, with the provider's other rules."""

    def __init__(self, graph):
        import onnxruntime.tools.mobile_helpers as helpers

        table = pathlib.Path(helpers.__file__).parent / "coreml_supported_mlprogram_ops.md"
        lines = table.read_text(encoding="utf-8").splitlines()
        rows = [line.split("|")[1] for line in lines if line.startswith("|")]
        self.operators = {row for row in rows if ":" in row}
        self.operators |= {f"ai.onnx:{name}" for name in LEFT_OUT}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.produced = {name for node in graph.node for name in node.output}
        values = [*graph.input, *graph.output, *graph.value_info]
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.types |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        self.ranks |= {name: len(tensor.dims) for name, tensor in self.constants.items()}
        self.refused = {}

    def reason(self, node):
        from onnx import TensorProto

        if f"{node.domain or 'ai.onnx'}:{node.op_type}" not in self.operators:
            return "no builder"
        floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
        if node.op_type == "Cast":
            if node.input[0] not in self.produced:
                return "has no preceding node"
        elif node.op_type != "Shape" and self.types.get(node.input[0]) not in floats:
            return "the first input is no float"
        if node.op_type == "Pow" and self.types.get(node.input[0]) != TensorProto.FLOAT:
            return "takes f32 only"
        if node.op_type == "MatMul" and 1 in (self.ranks.get(name) for name in node.input):
            return "a side is a vector"
        for index in CONSTANT_INPUTS.get(node.op_type, ()):
            given = len(node.input) > index and node.input[index]
            if given and node.input[index] not in self.constants:
                return f"input {index} is no constant"
        return None

    def is_op_supported(self, node):  # as the tool calls it
        reason = self.reason(node)
        if reason:
            self.refused.setdefault(f"{node.op_type}: {reason}", node.name)
        return reason is None


@dataclasses.dataclass(frozen=True)
class Placement:
    graph: str
    nodes: int
    taken: int
    partitions: int
    refused: dict  # reason: the first node's name

    @property
    def whole(self):
        return self.partitions == 1 and self.taken == self.nodes > 0


def place(path, name):
    import onnx
    from onnxruntime.tools.mobile_helpers import usability_checker

    # Shapes need no weights, which may be gigabytes.
    model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    rules = Rules(model.graph)
    info = usability_checker.check_partitioning(model.graph, rules, True, RANK_MAX)
    return Placement(
        name, info.num_nodes, info.num_supported_nodes, info.num_partitions, rules.refused
    )


def is_half(path):
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)


def check_graph(path):
    """As it is, and as ONNX Runtime hands it over: after its basic rewriting. In f16 that cannot be
    seen without CoreML, because a session on the processor puts its own casts in."""
    import onnxruntime

    path = pathlib.Path(path)
    placements = [place(path, path.name)]
    if is_half(path):
        return placements
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        rewritten = pathlib.Path(folder) / path.name
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(rewritten)
        key = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{key}_file_name", f"{path.name}.data")
        options.add_session_config_entry(f"{key}_min_size_in_bytes", "1024")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        placements.append(place(rewritten, f"{path.name}, rewritten"))
    return placements


# --- What a static graph is fed


def bucket_of(path):
    texts, tokens = pathlib.Path(path).stem.removeprefix("model_").split("x")
    return int(texts), int(tokens)


class Inputs:
    """The rows that textvec looks up, looked up once more by other means."""

    def __init__(self, folder):
        import safetensors
        import tokenizers

        folder = pathlib.Path(folder)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.offset = config.get("pad_token_id", 0) + 1 if "roberta" in config["model_type"] else 0
        self.tables = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safetensors.safe_open(file, "pt") as tensors:
                for name in tensors.keys():
                    kind = name.removesuffix(".weight").split(".")[-1]
                    if kind == "embed_tokens" or kind.endswith("_embeddings"):
                        self.tables[kind] = tensors.get_tensor(name).float().numpy()

    def rows(self, ids):
        tokens = self.tables.get("embed_tokens", self.tables.get("word_embeddings"))
        rows = tokens[ids]
        if "position_embeddings" in self.tables:
            # No text here holds the padding token, which roberta would not count.
            rows = rows + self.tables["position_embeddings"][self.offset : self.offset + len(ids)]
        if "token_type_embeddings" in self.tables:
            rows = rows + self.tables["token_type_embeddings"][0]
        return rows.astype(np.float32)

    def feeds(self, texts, bucket, names):
        """Of as many texts as the bucket takes, cut to its length; their lengths."""
        count, tokens = bucket
        encoded = [self.tokenizer.encode(text).ids[:tokens] for text in texts[:count]]
        encoded += [encoded[-1]] * (count - len(encoded))
        rows, bias, last = [], np.full((count, tokens), -1e4, np.float32), np.zeros((count, tokens))
        for row, ids in enumerate(encoded):
            own = self.rows(ids)
            rows.append(np.concatenate([own, np.repeat(own[-1:], tokens - len(ids), axis=0)]))
            bias[row, : len(ids)] = 0
            last[row, len(ids) - 1] = 1
        given = {
            "token_embeddings": np.concatenate(rows),
            "attention_bias": bias,
            "last_token": last.astype(np.float32),
        }
        return {name: given[name] for name in names}, [len(ids) for ids in encoded]


def make_session(model, providers=("CPUExecutionProvider",), level=None, config=()):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that wait in circles take a busy machine's time from those that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if level is not None:
        options.graph_optimization_level = level
    for key, value in config:
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(str(model), options, providers=list(providers))


def unit_vectors(output, lengths):
    """A vector a text: its own, or the mean of its tokens'."""
    rows = [row if row.ndim == 1 else row[:length].mean(axis=0) for row, length in
            zip(output.astype(np.float64), lengths)]  # fmt: skip
    return np.array([row / np.linalg.norm(row) for row in rows])


# --- 16 bits, simulated


def rounded_graph(path):
    """The f16 graph with float operators whose every result is rounded to 16 bits and back; beside
    its output the largest magnitude of each result before rounding."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    nodes, outputs, widened = [], [], {}

    def cast(source, target, to):
        nodes.append(helper.make_node("Cast", [source], [target], to=to))

    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            widened[tensor.name] = f"{tensor.name}/f32"
            cast(tensor.name, widened[tensor.name], TensorProto.FLOAT)
    for node in graph.node:
        (result,) = node.output
        given = [widened.get(name, name) for name in node.input]
        copy = helper.make_node(node.op_type, given, [f"{result}/raw"], name=node.name)
        copy.attribute.extend(node.attribute)
        if node.op_type == "Cast":
            copy.op_type = "Identity"
            del copy.attribute[:]
        nodes.append(copy)
        cast(f"{result}/raw", f"{result}/f16", TensorProto.FLOAT16)
        cast(f"{result}/f16", result, TensorProto.FLOAT)
        largest = f"{result}/max"
        nodes.append(helper.make_node("Abs", [f"{result}/raw"], [f"{result}/abs"]))
        nodes.append(helper.make_node("ReduceMax", [f"{result}/abs"], [largest], keepdims=0))
        outputs.append(helper.make_tensor_value_info(largest, TensorProto.FLOAT, []))
    del graph.node[:]
    del graph.value_info[:]
    graph.node.extend(nodes)
    graph.output.extend(outputs)
    return model


def masked_edges(path):
    """The mask, and scores that it was added to: what lies before a softmax."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    masked = {"attention_bias"}
    for node in graph.node:  # in the order of their work
        if node.op_type in ("Reshape", "Cast") and node.input[0] in masked:
            masked.add(node.output[0])
    return masked | {node.input[0] for node in graph.node if node.op_type == "Softmax"}


@dataclasses.dataclass(frozen=True)
class Half:
    cosine_min: float
    largest_of_all: float  # of every tensor of every run
    largest: float  # beside the mask's -10,000 and what it was added to
    edge: str  # where that is
    tokens: list  # of each text

    @property
    def good(self):
        return self.cosine_min >= HALF_COSINE_MIN and self.largest_of_all < HALF_MAX


def simulate_half(half_graph, whole_graph, folder, texts):
    """Both of the same bucket of one text, which is run again for each text."""
    import onnx
    import onnxruntime

    half_graph = pathlib.Path(half_graph)
    bucket = bucket_of(half_graph)
    inputs = Inputs(folder)
    with tempfile.NamedTemporaryFile(dir=half_graph.parent, suffix=".onnx") as file:
        onnx.save(rounded_graph(half_graph), file.name)  # beside its weights
        # Nothing is rewritten, so that no rounding is taken for a needless cast.
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        rounded = make_session(file.name, level=level)
    whole = make_session(whole_graph)
    names = [port.name for port in whole.get_inputs()]
    masked = masked_edges(half_graph)
    edges = [port.name.removesuffix("/max") for port in rounded.get_outputs()[1:]]
    is_other = np.array([edge not in masked for edge in edges])
    cosines, tokens, maxima = [], [], np.zeros(len(edges))
    for text in texts:
        feeds, lengths = inputs.feeds([text], bucket, names)
        outputs = rounded.run(None, feeds)
        ours = unit_vectors(outputs[0], lengths)
        expected = unit_vectors(whole.run(None, feeds)[0], lengths)
        cosines.append(float((ours * expected).sum(axis=1).min()))
        tokens.append(lengths[0])
        maxima = np.maximum(maxima, np.nan_to_num(np.array(outputs[1:], float), nan=np.inf))
    worst = min(cosines) if np.isfinite(cosines).all() else -1.0
    others = maxima * is_other
    edge = edges[int(others.argmax())]
    return Half(worst, float(maxima.max()), float(others.max()), edge, tokens)


# --- textvec


def textvec(work, *arguments):
    binary = os.environ.get("TEXTVEC_BINARY", ROOT / "build" / "release" / "textvec")
    command = [str(binary), *map(str, arguments)]
    own = os.environ | {"TEXTVEC_CACHE": str(work / "cache")}  # goes when the check is done
    done = subprocess.run(
        command, capture_output=True, timeout=RUN_SECONDS_MAX, check=False, env=own
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode()


def difference_of_targets(model, work):
    vectors = []
    for target in ("fused", "static"):
        output = work / f"{target}.npy"
        chosen = ("--target", target, "--format", "npy", "--output", output)
        textvec(work, "embed", "--model", model, *chosen, "--", *TEXTS)
        vectors.append(np.load(output).astype(np.float64))
    return float(np.abs(vectors[0] - vectors[1]).max())


# --- A Mac


def on_coreml(path, units, cache):
    options = {
        "ModelFormat": "MLProgram",
        "MLComputeUnits": units,
        "RequireStaticInputShapes": "1",
        "ModelCacheDirectory": str(cache),
    }
    config = [(f"session.{key}", "1") for key in
              ("disable_cpu_ep_fallback", "record_ep_graph_assignment_info")]  # fmt: skip
    begin = time.perf_counter()
    session = make_session(path, [("CoreMLExecutionProvider", options)], config=config)
    return session, time.perf_counter() - begin


def measure_coreml(path, folder, units):
    """A row of the table; what goes wrong is its result."""
    inputs = Inputs(folder)
    row = {"graph": path.name, "units": units}
    with tempfile.TemporaryDirectory() as cache:
        try:
            session, row["cold_load_s"] = on_coreml(path, units, cache)
            assigned = session.get_provider_graph_assignment_info()
            row["partitions"] = [(part.ep_name, len(part.get_nodes())) for part in assigned]
            names = [port.name for port in session.get_inputs()]
            feeds, lengths = inputs.feeds(TEXTS, bucket_of(path), names)
            times = []
            for _ in range(1 + WARM_RUNS):
                begin = time.perf_counter()
                output = session.run(None, feeds)[0]
                times.append(1000 * (time.perf_counter() - begin))
            row["first_run_ms"], row["warm_run_ms"] = times[0], statistics.median(times[1:])
            row["tokens"] = lengths
            del session
            _, row["warm_load_s"] = on_coreml(path, units, cache)
            expected = unit_vectors(make_session(path).run(None, feeds)[0], lengths)
            cosines = (unit_vectors(output, lengths) * expected).sum(axis=1)
            row["cosine_min"] = float(cosines.min())
            row["good"] = bool(row["cosine_min"] >= COREML_COSINE_MIN)
        except Exception as error:  # whatever the provider throws is the finding
            row |= {"good": False, "error": str(error)[:500]}
    return row


# --- The report


def compile_graphs(model, work, precision, chosen):
    folder = work / precision
    textvec(work, "compile", "--model", model, "--target", "static", "--precision", precision,
            *chosen, "--output", folder)  # fmt: skip
    return sorted(folder.glob("model_*.onnx"), key=lambda path: np.prod(bucket_of(path)))


def say(good, line):
    print(f"{'ok    ' if good else 'FAILED'}  {line}", flush=True)
    return good


def check_model(model, work, chosen):
    report = {"machine": platform.platform(), "model": str(model), "graphs": [], "coreml": []}
    good = True
    graphs = {name: compile_graphs(model, work, name, chosen) for name in ("f32", "f16")}
    for precision, paths in graphs.items():
        for path in paths:
            for placement in check_graph(path):
                good &= say(
                    placement.whole,
                    f"{precision} {placement.graph}: {placement.taken} of {placement.nodes} nodes "
                    f"in {placement.partitions} partitions {placement.refused or ''}",
                )
                report["graphs"].append({"precision": precision} | dataclasses.asdict(placement))
    report["difference"] = difference_of_targets(model, work)
    good &= say(
        report["difference"] <= TOLERANCE,
        f"f32 static and fused differ by {report['difference']:.2g} at most ({len(TEXTS)} texts)",
    )
    alone = [pair for pair in zip(graphs["f16"], graphs["f32"]) if bucket_of(pair[0])[0] == 1]
    # The texts in the shortest, and one that fills the longest.
    if not alone:
        good = say(False, "f16 is simulated in buckets of one text, and there is none")
    for (half, whole), some in ((alone[0], TEXTS), (alone[-1], LONG_TEXTS)) if alone else ():
        result = simulate_half(half, whole, model, some)
        good &= say(
            result.good,
            f"f16 {half.name} simulated: cosine {result.cosine_min:.6f} at least, "
            f"{result.largest:.5g} at most, on {result.edge} ({result.largest_of_all:.5g} with "
            f"masked scores); {result.tokens} tokens",
        )
        report.setdefault("half", []).append({"graph": half.name} | dataclasses.asdict(result))
    if sys.platform == "darwin":
        for precision, paths in graphs.items():
            for path in paths:
                for units in UNITS:
                    row = measure_coreml(path, model, units)
                    good &= say(row["good"], f"{precision} {json.dumps(row)}")
                    report["coreml"].append({"precision": precision} | row)
    else:
        print("        CoreML itself: not here; run this on a Mac")
    return good, report


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="FOLDER", help="with safetensors")
    parser.add_argument("--work", metavar="FOLDER", help="for the graphs (a temporary one)")
    parser.add_argument("--bucket", action="append", default=[], metavar="BxS", help="not all six")
    parser.add_argument("--json", metavar="FILE", help="the figures once more")
    options = parser.parse_args()
    chosen = [word for bucket in options.bucket for word in ("--bucket", bucket)]
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        good, report = check_model(pathlib.Path(options.model), pathlib.Path(work), chosen)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1), encoding="utf-8")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
