#!/usr/bin/env python3
# In: a model and a .jsonl file of texts. Out: a .npz with the token ids and the vectors that the
# Python libraries give for them, against which textvec is measured.
"""Writes reference token ids and vectors, made by the Python libraries, into an .npz file.

With --model: sentence-transformers, float32 on the processor, whatever type the weights are stored
in. A folder without modules.json is pooled as sentence-transformers does it: a decoder
(*ForCausalLM) by its last token, all else by the mean. With --onnx: ONNX Runtime on that file, one
text at a time, tokens by the tokenizers package, then the pooling that --pooling names; a decoder's
position_ids are counted and its past_key_values are empty. Vectors are cut to --dimensions, then
divided by their length unless --no-normalize.
The same libraries on the same machine write the same bytes every time.

The file holds uncompressed arrays:
  vectors       float32 [texts, dimension]
  ids           int64, the tokens of all texts one after the other, special tokens included
  offsets       int64 [texts + 1]; text i has ids[offsets[i]:offsets[i + 1]]
  texts         uint8, the UTF-8 of all texts one after the other
  text_offsets  int64 [texts + 1]
  about         uint8, JSON: the settings, the versions of the libraries, SHA-256 of model and texts

Read it with:  file = numpy.load("x.npz"); about = json.loads(bytes(file["about"]))
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import sys

import numpy as np

LIBRARIES = (
    "numpy",
    "onnxruntime",
    "safetensors",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)
# What can change a model's vectors; a README or a licence cannot.
MODEL_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".bin", ".onnx", ".data"}
TEXTS_MAX = 1_000_000
TOKENS_MAX_ASSUMED = 512
INSTRUCTION_START, INSTRUCTION_END = "Instruct: ", "\nQuery:"
THREADS = 2


def library_versions():
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def read_texts(path, field="text"):
    texts = []
    with open(path, encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if number > TEXTS_MAX:
                raise ValueError(f"{path} holds more than {TEXTS_MAX} texts")
            try:
                text = json.loads(line)[field]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f'{path}, line {number}: no JSON object with "{field}"') from error
            if not isinstance(text, str):
                raise ValueError(f'{path}, line {number}: "{field}" is no string')
            texts.append(text)
    if not texts:
        raise ValueError(f"{path} holds no texts")
    return texts


def hash_texts(texts):
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def hash_files(files):
    """SHA-256 over pairs of a name and a path, in the order of the names."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        with open(path, "rb") as source:
            digest.update(f"{name}\0{hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def hash_model(folder):
    folder = pathlib.Path(folder)
    files = [
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.suffix in MODEL_SUFFIXES and path.is_file()
    ]
    if not files:
        raise ValueError(f"{folder} holds no model files")
    return hash_files(files)


def hash_onnx(onnx_file, tokenizer_file):
    files = [("tokenizer.json", tokenizer_file), ("model.onnx", onnx_file)]
    data = pathlib.Path(f"{onnx_file}.data")  # weights that do not fit in the graph's own file
    if data.is_file():
        files.append(("model.onnx.data", data))
    return hash_files(files)


def cut(vectors, dimensions, normalize):
    """The first `dimensions` components, made as long as 1 again."""
    width = vectors.shape[1]
    if not 1 <= dimensions <= width:
        raise ValueError(f"dimensions is {dimensions}; the model takes 1 to {width}")
    vectors = vectors[:, :dimensions].astype(np.float64)
    if normalize:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def instruction_prompt(model, instruction):
    """The model's query prompt with another task in it."""
    query_prompt = model.prompts.get("query") or ""
    if not query_prompt and model[0].config.model_type == "qwen3":
        query_prompt = INSTRUCTION_START + INSTRUCTION_END  # its files may say nothing of prompts
    end = query_prompt.find(INSTRUCTION_END)
    if not query_prompt.startswith(INSTRUCTION_START) or end < 0:
        raise ValueError(
            f"the model's query prompt is {query_prompt[:200]!r}; an instruction needs one of the "
            f"form {INSTRUCTION_START + '...' + INSTRUCTION_END!r}"
        )
    return INSTRUCTION_START + instruction + query_prompt[end:]


def open_sentence_transformer(folder, threads=THREADS):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import sentence_transformers
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # tensors of heads that nobody asked for
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Weights stored in 16 bits are widened, because textvec's f32 does the same.
    return sentence_transformers.SentenceTransformer(
        str(folder),
        device="cpu",
        model_kwargs={"dtype": torch.float32},
        trust_remote_code=False,
        local_files_only=True,
    )


def with_sentence_transformers(
    folder,
    texts,
    *,
    role=None,
    prompt_name=None,
    instruction=None,
    dimensions=None,
    tokens_max=None,
    normalize=True,
    threads=THREADS,
):
    """Returns a list of id lists and a float32 array [texts, dimension]."""
    model = open_sentence_transformer(folder, threads)
    prompt = None
    if instruction is not None:
        role = "query"
        prompt = instruction_prompt(model, instruction)
    if tokens_max is not None:
        model.max_seq_length = tokens_max

    # The ids are taken where encode() makes them, prompt and truncation included.
    ids_by_text = {}
    preprocess = model.preprocess

    def recording_preprocess(inputs, **options):
        features = preprocess(inputs, **options)
        for text, ids, mask in zip(inputs, features["input_ids"], features["attention_mask"]):
            ids_by_text[text] = ids[mask == 1].tolist()
        return features

    model.preprocess = recording_preprocess
    encode = {None: model.encode, "query": model.encode_query, "document": model.encode_document}
    vectors = encode[role](
        texts,
        prompt_name=prompt_name,
        prompt=prompt,
        normalize_embeddings=normalize,
        show_progress_bar=False,
    )
    vectors = np.asarray(vectors, dtype=np.float32)
    if dimensions is not None:
        vectors = cut(vectors, dimensions, normalize)
    return [ids_by_text[text] for text in texts], vectors


# One text's hidden states [tokens, width] as one vector; sums in double, as textvec's.
POOLINGS = {
    "cls": lambda hidden: hidden[0].astype(np.float64),
    "mean": lambda hidden: hidden.mean(axis=0, dtype=np.float64),
    "max": lambda hidden: hidden.max(axis=0).astype(np.float64),
    "mean_sqrt_len_tokens": lambda hidden: (
        hidden.sum(axis=0, dtype=np.float64) / np.sqrt(len(hidden))
    ),
    "lasttoken": lambda hidden: hidden[-1].astype(np.float64),
}
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
# What exporters call the inputs that textvec feeds.
INPUTS = {
    "input_ids": "ids",
    "attention_mask": "mask",
    "input_mask": "mask",
    "token_type_ids": "type_ids",
    "segment_ids": "type_ids",
    "position_ids": "positions",
}
CACHE_LENGTH_AXIS = 2  # past_key_values.* are [texts, heads, length, components of a head]


def empty_cache(node, texts):
    """No tokens of the past, for a decoder that was exported to go on from some."""
    shape = [texts, *node.shape[1:]]
    if len(shape) != 4 or node.type not in FLOATS:
        raise ValueError(f"{node.name} is {node.type} {node.shape}; it takes 4 axes of floats")
    shape[CACHE_LENGTH_AXIS] = 0
    unknown = [size for size in shape if not isinstance(size, int)]
    if unknown:
        raise ValueError(f"{node.name} is {node.shape}: the graph does not say how large {unknown}")
    return np.zeros(shape, FLOATS[node.type])


def make_feed(nodes, ids, mask, type_ids):
    """What an ONNX session's inputs take, for int64 arrays [texts, tokens] padded on the right."""
    values = {"ids": ids, "mask": mask, "type_ids": type_ids}
    values["positions"] = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    feed = {}
    for node in nodes:
        if node.name.startswith("past_key_values."):
            feed[node.name] = empty_cache(node, len(ids))
        elif node.name not in INPUTS or node.type not in INTEGERS:
            raise ValueError(
                f"the graph wants {node.name} as {node.type}; known are integers named "
                f"{', '.join(INPUTS)}, and past_key_values.*"
            )
        else:
            feed[node.name] = values[INPUTS[node.name]].astype(INTEGERS[node.type])
    return feed


def with_onnxruntime(
    onnx_file,
    tokenizer_file,
    texts,
    *,
    pooling,
    dimensions=None,
    tokens_max=TOKENS_MAX_ASSUMED,
    normalize=True,
    threads=THREADS,
):
    """Returns a list of id lists and a float32 array [texts, width]."""
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    # The file may hold the settings of somebody's program; ours stand in their place.
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(onnx_file), options, providers=["CPUExecutionProvider"]
    )
    output = next((node.name for node in session.get_outputs() if len(node.shape) == 3), None)
    if output is None:
        raise ValueError(f"{onnx_file} has no output of three axes to pool")

    ids, vectors = [], []
    for text in texts:
        encoding = tokenizer.encode(text)
        if not encoding.ids:
            raise ValueError(f"the text {text[:80]!r} has no tokens")
        arrays = np.array([[encoding.ids], [encoding.attention_mask], [encoding.type_ids]])
        feed = make_feed(session.get_inputs(), *arrays)
        vector = POOLINGS[pooling](session.run([output], feed)[0][0])
        if normalize:
            vector /= np.linalg.norm(vector)
        ids.append(encoding.ids)
        vectors.append(vector.astype(np.float32))
    vectors = np.stack(vectors)
    return ids, vectors if dimensions is None else cut(vectors, dimensions, normalize)


def offsets_of(parts):
    return np.cumsum([0] + [len(part) for part in parts], dtype=np.int64)


def write(path, texts, ids, vectors, *, model_sha256, settings):
    about = {
        "format": 1,
        "settings": settings,
        "versions": library_versions(),
        "model_sha256": model_sha256,
        "texts_sha256": hash_texts(texts),
    }
    data = [text.encode() for text in texts]
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place when it is whole, so that a reader never sees half of it.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    with open(unfinished, "wb") as file:
        np.savez(
            file,
            vectors=vectors,
            ids=np.array([token for row in ids for token in row], dtype=np.int64),
            offsets=offsets_of(ids),
            texts=np.frombuffer(b"".join(data), dtype=np.uint8),
            text_offsets=offsets_of(data),
            about=np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8),
        )
    os.replace(unfinished, path)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="FOLDER", help="a sentence-transformers model folder")
    source.add_argument("--onnx", metavar="FILE", help="an ONNX file that gives hidden states")
    parser.add_argument("--texts", required=True, metavar="FILE", help="a JSON object a line")
    parser.add_argument("--field", default="text", help="its member that is the text (text)")
    parser.add_argument("--output", required=True, metavar="FILE", help="the .npz file to write")
    parser.add_argument("--no-normalize", action="store_true", help="leave the lengths as they are")
    parser.add_argument(
        "--tokens-max",
        type=int,
        metavar="N",
        help="cut texts to so many tokens, special ones included "
        f"(with --model: what the model says; with --onnx: {TOKENS_MAX_ASSUMED})",
    )
    parser.add_argument("--threads", type=int, default=THREADS, metavar="N", help=f"({THREADS})")
    parser.add_argument(
        "--dimensions", type=int, metavar="N", help="cut the vectors to their first N components"
    )
    parser.add_argument("--role", choices=("query", "document"), help="only with --model")
    parser.add_argument("--prompt-name", metavar="NAME", help="only with --model")
    parser.add_argument(
        "--instruction",
        metavar="TEXT",
        help="takes the place of the task in the model's query prompt, "
        '"Instruct: {task}\\nQuery:"; only with --model',
    )
    parser.add_argument("--pooling", choices=tuple(POOLINGS), help="only with --onnx")
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="only with --onnx (tokenizer.json beside it, or one folder up)",
    )
    options = parser.parse_args(arguments)
    if options.onnx and not options.pooling:
        parser.error("--onnx needs --pooling")
    instructed = options.instruction is not None
    if options.onnx and (options.role or options.prompt_name or instructed):
        parser.error("--role, --prompt-name and --instruction go with --model only")
    if options.model and (options.pooling or options.tokenizer):
        parser.error("--pooling and --tokenizer go with --onnx only")
    if options.role and options.prompt_name:
        parser.error("give one of --role and --prompt-name")
    if instructed and (options.prompt_name or options.role == "document"):
        parser.error("an instruction goes with queries only, and takes the place of --prompt-name")
    if options.dimensions is not None and options.dimensions < 1:
        parser.error(f"--dimensions is {options.dimensions}; it takes at least 1")
    return options


def find_tokenizer(onnx_file):
    folder = pathlib.Path(onnx_file).absolute().parent  # symbolic links lead out of the model
    for candidate in (folder / "tokenizer.json", folder.parent / "tokenizer.json"):
        if candidate.is_file():
            return candidate
    raise ValueError(f"no tokenizer.json beside {onnx_file} or one folder up; give --tokenizer")


def make(options):
    texts = read_texts(options.texts, options.field)
    settings = {
        "normalize": not options.no_normalize,
        "tokens_max": options.tokens_max,
        "threads": options.threads,
        "dimensions": options.dimensions,
    }
    if options.onnx:
        settings["pooling"] = options.pooling
        settings["tokens_max"] = options.tokens_max or TOKENS_MAX_ASSUMED
        tokenizer = options.tokenizer or find_tokenizer(options.onnx)
        ids, vectors = with_onnxruntime(options.onnx, tokenizer, texts, **settings)
        model_sha256 = hash_onnx(options.onnx, tokenizer)
    else:
        settings["role"] = options.role
        settings["prompt_name"] = options.prompt_name
        settings["instruction"] = options.instruction
        ids, vectors = with_sentence_transformers(options.model, texts, **settings)
        model_sha256 = hash_model(options.model)
    write(options.output, texts, ids, vectors, model_sha256=model_sha256, settings=settings)
    print(f"{options.output}: {len(texts)} texts, {vectors.shape[1]} dimensions", file=sys.stderr)


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        make(options)
    except (OSError, ValueError) as error:
        sys.exit(f"make_reference.py: {error}")


if __name__ == "__main__":
    main()
