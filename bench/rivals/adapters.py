# In: a model in the form that a rival reads, texts. Out: unit vectors. One class for each rival,
# run with the Python of the rival's own environment.
"""A rival: load(files, settings, threads) once, embed(texts, **settings) often.

Each does what its own documentation tells a user to do. What a user may choose is a setting:
`load_settings` need a fresh process, `call_settings` do not; run.py tries all and keeps the best
for each kind of work.
"""

import json
import os
import pathlib

import numpy as np

BATCH_SIZES = (1, 8, 32, 128)


def batches(count, batch):
    return [range(begin, min(begin + batch, count)) for begin in range(0, count, batch)]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pool(hidden, mask, pooling):
    if pooling == "last":
        return hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
    weights = mask[:, :, None].astype(hidden.dtype)
    return (hidden * weights).sum(axis=1) / weights.sum(axis=1)


def sizes_up_to(count):
    """Batch sizes that differ for so many texts."""
    return [size for size in BATCH_SIZES if size < count] + [count]


class Tokens:
    """The tokenizers library, as everybody uses it: padded on the right to the longest text."""

    def __init__(self, folder, tokens_max):
        import tokenizers

        path = pathlib.Path(folder) / "tokenizer.json"
        self.tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self.tokenizer.enable_truncation(tokens_max)
        self.tokenizer.enable_padding()

    def __call__(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], np.int64)
        return ids, np.array([one.attention_mask for one in encoded], np.int64)


class InBatches:
    """What plain programs around a graph do: texts in batches, sorted by length or as they come."""

    def call_settings(self, count):
        orders = (False, True) if count > 1 else (False,)
        return [
            {"batch": size, "sort": sort}
            for size in sizes_up_to(count)
            for sort in orders
            if 1 < size < count or not sort  # otherwise the order changes nothing
        ]

    def load(self, files, settings, threads):
        self.tokens = Tokens(files["model"], files["tokens_max"])
        self.pooling = files["pooling"]
        self.load_graph(files, settings, threads)

    def embed(self, texts, batch, sort):
        order = list(range(len(texts)))
        if sort:
            order.sort(key=lambda i: len(texts[i]))
        parts = [[order[i] for i in part] for part in batches(len(texts), batch)]
        inputs = (self.tokens([texts[i] for i in part]) for part in parts)
        vectors = [None] * len(texts)
        for part, pooled in zip(parts, self.run(inputs)):
            for index, vector in zip(part, unit(pooled)):
                vectors[index] = vector
        return np.array(vectors, np.float32)


class OnnxRuntime(InBatches):
    name = "onnxruntime"
    load_settings = ({},)

    def load_graph(self, files, settings, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = files["onnx_int8" if files["precision"] == "int8" else "onnx"]
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs):
        for ids, mask in inputs:
            given = {"input_ids": ids, "attention_mask": mask}
            yield pool(self.session.run(None, given)[0], mask, self.pooling)

    def versions(self):
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}


class OpenVino(InBatches):
    """`rounded`: what is not int8 may be bfloat16, where the processor has that."""

    name = "openvino"

    def __init__(self, rounded=False):
        self.load_settings = tuple(
            {"hint": hint, "floats": floats}
            for floats in (("f32", "bf16") if rounded else ("f32",))
            for hint in ("LATENCY", "THROUGHPUT")
        )

    def load_graph(self, files, settings, threads):
        import openvino

        path = files["openvino_int8" if files["precision"] == "int8" else "onnx"]
        given = {
            "PERFORMANCE_HINT": settings["hint"],
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": settings["floats"],
        }
        compiled = openvino.Core().compile_model(path, "CPU", given)
        self.queue = openvino.AsyncInferQueue(compiled)  # as many as the hint makes best
        self.queue.set_callback(self.take)

    def take(self, request, key):
        index, mask = key
        # Copied: the request's memory is used again.
        self.pooled[index] = np.array(pool(request.get_output_tensor(0).data, mask, self.pooling))

    def run(self, inputs):
        self.pooled = {}
        for index, (ids, mask) in enumerate(inputs):
            given = {"input_ids": ids, "attention_mask": mask}
            self.queue.start_async(given, (index, mask))
        self.queue.wait_all()
        return [self.pooled[index] for index in range(len(self.pooled))]

    def versions(self):
        import nncf
        import openvino

        return {"openvino": openvino.__version__.split("-")[0], "nncf": nncf.__version__}


class FastEmbed:
    """`default` in its settings: the batch size of 256 that the library has."""

    name = "fastembed"
    load_settings = ({},)

    def __init__(self, default=False):
        self.default = default

    def call_settings(self, count):
        if self.default:
            return [{"batch": 256}]
        return [{"batch": size} for size in sizes_up_to(count)]

    def load(self, files, settings, threads):
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        pooling = PoolingType.LAST_TOKEN if files["pooling"] == "last" else PoolingType.MEAN
        folder = pathlib.Path(files["fastembed"]).parent
        TextEmbedding.add_custom_model(
            model="local/model",
            pooling=pooling,
            normalization=True,
            sources=ModelSource(hf="local/model"),
            dim=files["dimension"],
            model_file="model.onnx",
        )
        self.model = TextEmbedding(
            "local/model",
            threads=threads,
            specific_model_path=str(folder),
            local_files_only=True,
        )

    def embed(self, texts, batch):
        return np.array(list(self.model.embed(texts, batch_size=batch)), np.float32)

    def versions(self):
        import importlib.metadata

        return {name: importlib.metadata.version(name) for name in ("fastembed", "onnxruntime")}


class SentenceTransformers:
    name = "sentence-transformers"
    load_settings = ({},)

    def call_settings(self, count):
        return [{"batch": size} for size in sizes_up_to(count)]  # it sorts by length itself

    def load(self, files, settings, threads):
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(
            files["model"],
            device="cpu",
            local_files_only=True,
            model_kwargs={"dtype": torch.float32},
        )
        self.model.max_seq_length = files["tokens_max"]

    def embed(self, texts, batch):
        return self.model.encode(texts, batch_size=batch, normalize_embeddings=True)

    def versions(self):
        import sentence_transformers
        import torch
        import transformers

        named = (sentence_transformers, torch, transformers)
        return {module.__name__: module.__version__ for module in named}


def as_the_model_wants(tokenize, files):
    """With the model's final token and its limit, which llama.cpp's files do not always say."""
    final = files["final_token"]

    def tokens_of(*arguments, **more):
        ids = tokenize(*arguments, **more)
        if ids[-1:] != [final]:
            ids = [*ids, final]
        return ids if len(ids) <= files["tokens_max"] else [*ids[: files["tokens_max"] - 1], final]

    return tokens_of


class LlamaCpp:
    name = "llama.cpp"
    load_settings = tuple(
        {"batch_tokens": tokens, "flash_attention": flash}
        for tokens in (512, 2048)
        for flash in (False, True)
    )

    def call_settings(self, count):
        return [{"batch": 1}] if count == 1 else [{"batch": 1}, {"batch": count}]

    def load(self, files, settings, threads):
        import llama_cpp

        precision = "q8_0" if files["precision"] == "int8" else "f32"
        self.model = llama_cpp.Llama(
            files[f"gguf_{precision}"],
            embedding=True,
            n_ctx=settings["batch_tokens"],
            n_batch=settings["batch_tokens"],
            n_ubatch=settings["batch_tokens"],
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=settings["flash_attention"],
            pooling_type=files["llama_pooling"],
            verbose=False,
        )
        tokenizer = self.model.tokenizer_
        tokenizer.tokenize = as_the_model_wants(tokenizer.tokenize, files)

    def embed(self, texts, batch):
        vectors = []
        for part in batches(len(texts), batch):
            # It packs texts one behind another, up to n_batch tokens, without padding.
            vectors += self.model.embed([texts[i] for i in part], normalize=True)
        return np.array(vectors, np.float32)

    def versions(self):
        import llama_cpp

        return {"llama-cpp-python": llama_cpp.__version__}


class TextEmbeddingsInference:
    """A server over HTTP on this machine, with the clients that suit it best."""

    name = "TEI"
    load_settings = ({},)
    REQUEST_TEXTS = (1, 8, 32)
    CLIENTS = (1, 4, 16)

    def call_settings(self, count):
        if count == 1:
            return [{"request": 1, "clients": 1}]
        return [
            {"request": request, "clients": clients}
            for request in self.REQUEST_TEXTS
            for clients in self.CLIENTS
        ]

    def load(self, files, settings, threads):
        import socket
        import subprocess
        import time
        import urllib.request

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [files["tei"], "--model-id", files["model"], "--port", str(self.port)]
        command += ["--hostname", "127.0.0.1", "--dtype", "float32", "--auto-truncate"]
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self.server = subprocess.Popen(command, env=environment, stdout=2)  # stdout is the answer's
        self.pid = self.server.pid
        end = time.monotonic() + 600
        while True:
            if self.server.poll() is not None:
                raise RuntimeError(f"the server ended with {self.server.returncode}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise RuntimeError("the server was not ready after 600 s") from None
                time.sleep(0.2)

    def ask(self, path, body=None):
        import urllib.request

        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def embed(self, texts, request, clients):
        import concurrent.futures

        parts = batches(len(texts), request)
        bodies = ({"inputs": [texts[i] for i in part], "truncate": True} for part in parts)
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(lambda body: self.ask("/embed", body), bodies))
        return np.array([vector for answer in answers for vector in answer], np.float32)

    def versions(self):
        return {"text-embeddings-inference": self.ask("/info").get("version", "unknown")}

    def close(self):
        self.server.terminate()
        self.server.wait(timeout=60)


ADAPTERS = {
    "onnxruntime": OnnxRuntime,
    "fastembed": lambda: FastEmbed(default=True),
    "fastembed-best": FastEmbed,
    "openvino": OpenVino,
    "openvino-int8": lambda: OpenVino(rounded=True),
    "sentence-transformers": SentenceTransformers,
    "llama": LlamaCpp,
    "tei": TextEmbeddingsInference,
}
