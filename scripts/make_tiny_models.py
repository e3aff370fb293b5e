#!/usr/bin/env python3
# In: some texts, from which small vocabularies are learnt. Out: model folders with seeded random
# weights, one for every form of model that textvec promises to run.
"""Makes tiny models with random weights, as folders that sentence-transformers and textvec load.

Their vectors mean nothing; what counts is that two programs give the same ones. Every weight, bias
and norm is random and far from its usual start, so that a tensor that is left out, swapped or
transposed shows. The same libraries write the same folders every time.
"""

import collections
import dataclasses
import json
import math
import os
import pathlib
import tempfile
import zlib

import making
import numpy as np

HIDDEN = 64
INTERMEDIATE = 128
HEADS = 4
SPREAD = 0.2  # standard deviation of the weights; transformers starts at 0.02
VOCABULARY_MAX = 2000
WORD_CHARACTERS_MAX = 100
PIECE_CHARACTERS_MAX = 8
TOKENS_MAX = 128


@dataclasses.dataclass(frozen=True)
class Dense:
    out_features: int
    activation: str = "Tanh"
    bias: bool = True


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What distinguishes one model from the plainest: BERT, mean pooling, float32, one file."""

    name: str
    family: str = "bert"
    pooling: str = "mean"
    layers: int = 2
    activation: str = "gelu"
    dtype: str = "float32"
    with_head: bool = False  # saved with a head: prefixed names, and tensors that are not used
    sharded: bool = False  # several files and an index
    dense: tuple = ()
    normalize: bool = True
    prompts: tuple = ()  # pairs of a name and a text
    default_prompt: str | None = None
    include_prompt: bool = True
    lower_case: bool = False
    new_format: bool = False  # written by sentence-transformers' own save(), in today's format
    bare: bool = False  # transformers' files alone
    # Of qwen3:
    heads: tuple = (4, 2, 48)  # of queries, of keys and values, and the size of one
    rope: dict = dataclasses.field(default_factory=lambda: {"rope_theta": 1e6})
    old_rope: bool = False  # rope_theta and rope_scaling, as transformers 4 wrote them
    attention_bias: bool = False


PROMPTS = (("query", "search for: "), ("document", "stored text: "))
INSTRUCTIONS = (("query", "Instruct: Find the gloss\nQuery:"), ("document", ""))

RECIPES = (
    Recipe("bert-cls", pooling="cls"),
    Recipe("bert-mean", layers=3),
    Recipe("bert-max", pooling="max"),
    Recipe("bert-last-token", pooling="lasttoken"),
    # Normalising hides what the square root does; the tanh shows it.
    Recipe("bert-mean-sqrt-len", pooling="mean_sqrt_len_tokens", dense=(Dense(HIDDEN),)),
    Recipe("bert-new-format-cls", pooling="cls", new_format=True),
    Recipe("bert-new-format-dense", dense=(Dense(32),), prompts=PROMPTS, new_format=True),
    Recipe("bert-bare", bare=True),
    Recipe("bert-not-normalized", normalize=False),
    Recipe("bert-dense", dense=(Dense(32),)),
    Recipe("bert-dense-twice", dense=(Dense(96, "Identity", False), Dense(48))),
    Recipe("bert-prompts", prompts=PROMPTS, default_prompt="document"),
    Recipe("bert-prompt-left-out", prompts=PROMPTS, default_prompt="query", include_prompt=False),
    Recipe(
        "bert-prompt-left-out-max",
        pooling="max",
        prompts=PROMPTS,
        default_prompt="query",
        include_prompt=False,
    ),
    Recipe(
        "bert-prompt-left-out-cls",
        pooling="cls",
        prompts=PROMPTS,
        default_prompt="query",
        include_prompt=False,
    ),
    Recipe("bert-bf16", dtype="bfloat16"),
    Recipe("bert-relu", activation="relu"),
    Recipe("bert-gelu-new", activation="gelu_new"),
    Recipe("bert-masked-lm", with_head=True),
    Recipe("roberta-mean", family="roberta", layers=3),
    Recipe("roberta-f16", family="roberta", dtype="float16", pooling="cls"),
    Recipe("roberta-masked-lm", family="roberta", with_head=True),
    Recipe("xlm-roberta-mean", family="xlm-roberta"),
    Recipe("xlm-roberta-sharded", family="xlm-roberta", pooling="cls", sharded=True),
    Recipe("xlm-roberta-masked-lm", family="xlm-roberta", with_head=True),
    Recipe("distilbert-mean", family="distilbert", layers=3),
    Recipe("distilbert-relu", family="distilbert", activation="relu", pooling="cls"),
    Recipe("distilbert-masked-lm", family="distilbert", with_head=True),
    Recipe("distilbert-lower-case", family="distilbert", lower_case=True),
    # Heads that do not add up to the hidden size, shared by four, two and one.
    Recipe(
        "qwen3-4-to-1",
        family="qwen3",
        pooling="lasttoken",
        layers=3,
        heads=(8, 2, 32),
        prompts=INSTRUCTIONS,
    ),
    Recipe("qwen3-2-to-1", family="qwen3", pooling="lasttoken", heads=(6, 3, 32), sharded=True),
    Recipe("qwen3-1-to-1", family="qwen3", pooling="lasttoken", heads=(3, 3, 16), with_head=True),
    Recipe("qwen3-bf16", family="qwen3", pooling="lasttoken", dtype="bfloat16"),
    Recipe("qwen3-mean", family="qwen3", prompts=INSTRUCTIONS, include_prompt=False),
    Recipe("qwen3-bare", family="qwen3", pooling="lasttoken", with_head=True, bare=True),
    Recipe("qwen3-bias", family="qwen3", pooling="lasttoken", attention_bias=True),
    Recipe(
        "qwen3-yarn",
        family="qwen3",
        pooling="lasttoken",
        rope={
            "rope_theta": 1e4,
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    Recipe(
        "qwen3-linear-old-names",
        family="qwen3",
        pooling="lasttoken",
        rope={"rope_theta": 1e4, "rope_type": "linear", "factor": 3.0},
        old_rope=True,
    ),
)


def numbers(name):
    """A random generator that depends on the name alone, and not on torch's version."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


# --- Tokenizers: each family's own kind, with a vocabulary learnt from the texts. The trainers of
# WordPiece and Unigram walk through hash maps and give another vocabulary every time; counting
# does not.


def count_pieces(tokenizer, texts, continued):
    """How often each piece of a word occurs; `continued` stands before all but a word's first."""
    words = collections.Counter(
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            tokenizer.normalizer.normalize_str(text)
        )
        if len(word) <= WORD_CHARACTERS_MAX
    )
    pieces = collections.Counter()
    for word, times in words.items():
        for begin in range(len(word)):
            for end in range(begin + 1, min(begin + PIECE_CHARACTERS_MAX, len(word)) + 1):
                pieces[(continued if begin else "") + word[begin:end]] += times
    # What occurs once is left out, so that there are unknown characters, as with real vocabularies.
    frequent = [(piece, times) for piece, times in pieces.items() if times > 1]
    frequent.sort(key=lambda entry: (-entry[1] * len(entry[0]), entry[0]))
    return frequent[:VOCABULARY_MAX]


def word_piece(texts, lower_case):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = special + [piece for piece, _ in count_pieces(tokenizer, texts, "##")]
    tokenizer.model = models.WordPiece(
        {piece: index for index, piece in enumerate(pieces)},
        unk_token="[UNK]",
        max_input_chars_per_word=100,
    )
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return tokenizer, dict(zip(names, special))


def sentence_tokens():
    """The special tokens of RoBERTa and XLM-RoBERTa, at the ids that their padding relies on."""
    return {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }


def byte_pairs(texts):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = sentence_tokens()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_MAX,
        special_tokens=list(names.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")),
        ("<s>", tokenizer.token_to_id("<s>")),
        add_prefix_space=False,
    )
    return tokenizer, names | {"cls_token": "<s>", "sep_token": "</s>"}


def decoder_byte_pairs(texts):
    """As Qwen3-Embedding's: pieces of bytes, and <|endoftext|> behind every text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_MAX,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = TemplateProcessing(
        single="$A <|endoftext|>",
        special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
    )
    tokenizer.post_processor = Sequence([ByteLevel(add_prefix_space=False), end])
    return tokenizer, {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


def unigram(texts):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    names = sentence_tokens()
    special = list(names.values())
    pieces = [entry for entry in count_pieces(tokenizer, texts, "") if entry[0] not in special]
    total = sum(times for _, times in pieces)
    scores = [(token, 0.0) for token in special]
    scores += [(piece, math.log(times / total)) for piece, times in pieces]
    tokenizer.model = models.Unigram(scores, unk_id=special.index("<unk>"), byte_fallback=False)
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return tokenizer, names | {"cls_token": "<s>", "sep_token": "</s>"}


def train_tokenizers(texts):
    return {
        "bert": word_piece(texts, lower_case=True),
        "roberta": byte_pairs(texts),
        "xlm-roberta": unigram(texts),
        "distilbert": word_piece(texts, lower_case=False),
        "qwen3": decoder_byte_pairs(texts),
    }


# --- Transformers


def make_config(recipe, vocabulary):
    import transformers

    if recipe.family == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=vocabulary,
            dim=HIDDEN,
            n_layers=recipe.layers,
            n_heads=HEADS,
            hidden_dim=INTERMEDIATE,
            max_position_embeddings=TOKENS_MAX,
            activation=recipe.activation,
        )
    if recipe.family == "qwen3":
        heads, key_value_heads, head_size = recipe.heads
        return transformers.Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            num_hidden_layers=recipe.layers,
            num_attention_heads=heads,
            num_key_value_heads=key_value_heads,
            head_dim=head_size,
            intermediate_size=INTERMEDIATE,
            max_position_embeddings=TOKENS_MAX,
            rms_norm_eps=1e-3,
            rope_parameters=dict(recipe.rope),
            attention_bias=recipe.attention_bias,
        )
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "hidden_act": recipe.activation,
        # Larger than any real model's, so that it makes a difference that can be seen.
        "layer_norm_eps": 1e-3,
    }
    if recipe.family == "bert":
        return transformers.BertConfig(**shape, max_position_embeddings=TOKENS_MAX)
    # These count positions from the row behind the padding token's id.
    shape |= {"max_position_embeddings": TOKENS_MAX + 2, "type_vocab_size": 1}
    shape |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    if recipe.family == "roberta":
        return transformers.RobertaConfig(**shape)
    return transformers.XLMRobertaConfig(**shape)


def make_transformer(recipe, vocabulary):
    import torch
    import transformers

    stem = {
        "bert": "Bert",
        "roberta": "Roberta",
        "xlm-roberta": "XLMRoberta",
        "distilbert": "DistilBert",
        "qwen3": "Qwen3",
    }[recipe.family]
    task = "ForCausalLM" if recipe.family == "qwen3" else "ForMaskedLM"
    kind = getattr(transformers, stem + (task if recipe.with_head else "Model"))
    model = kind(make_config(recipe, vocabulary))
    random = numbers(recipe.name)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = SPREAD * random.standard_normal(tuple(parameter.shape), dtype=np.float32)
            if "norm" in name.lower() and name.endswith(".weight"):
                values += 1  # a norm multiplies by it
            parameter.copy_(torch.from_numpy(values))
    return model.to(getattr(torch, recipe.dtype))


def rename_rope(path):
    """Writes rope_parameters as transformers 4 did."""
    config = json.loads(path.read_text(encoding="utf-8"))
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    config["rope_scaling"] = scaling
    write_json(path, config)


def save_transformer(recipe, tokenizer, special_tokens, folder):
    import transformers

    model = make_transformer(recipe, tokenizer.get_vocab_size())
    # A tenth of a megabyte a file: a handful of files for models of this size.
    model.save_pretrained(folder, max_shard_size="100KB" if recipe.sharded else "5GB")
    if recipe.old_rope:
        rename_rope(folder / "config.json")
    if recipe.sharded and not (folder / "model.safetensors.index.json").is_file():
        raise ValueError(f"{recipe.name}: transformers wrote one file, not several")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=TOKENS_MAX, **special_tokens
    )
    fast.save_pretrained(folder)


# --- What sentence-transformers puts around them

POOLING_MODES = ("cls", "mean", "max", "mean_sqrt_len_tokens", "lasttoken")


def pooling_config(recipe):
    keys = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    config = {"word_embedding_dimension": HIDDEN}
    for mode in POOLING_MODES:
        config[f"pooling_mode_{keys.get(mode, mode)}"] = mode == recipe.pooling
    return config | {"include_prompt": recipe.include_prompt}


def dense_weights(recipe, index, in_features, dense):
    import torch

    random = numbers(f"{recipe.name} dense {index}")
    shapes = {"linear.weight": (dense.out_features, in_features)}
    if dense.bias:
        shapes["linear.bias"] = (dense.out_features,)
    return {
        name: torch.from_numpy(SPREAD * random.standard_normal(shape, dtype=np.float32))
        for name, shape in shapes.items()
    }


def activation_path(dense):
    module = "linear" if dense.activation == "Identity" else "activation"
    return f"torch.nn.modules.{module}.{dense.activation}"


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_modules(recipe, folder):
    """The files as most published models have them: those of sentence-transformers 2 to 5."""
    import safetensors.torch

    kinds = ["Transformer", "Pooling"] + ["Dense"] * len(recipe.dense)
    kinds += ["Normalize"] * recipe.normalize
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": "" if index == 0 else f"{index}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", pooling_config(recipe))
    in_features = HIDDEN
    for index, dense in enumerate(recipe.dense):
        dense_folder = folder / f"{index + 2}_Dense"
        config = {
            "in_features": in_features,
            "out_features": dense.out_features,
            "bias": dense.bias,
            "activation_function": activation_path(dense),
        }
        write_json(dense_folder / "config.json", config)
        weights = dense_weights(recipe, index, in_features, dense)
        safetensors.torch.save_file(weights, dense_folder / "model.safetensors")
        in_features = dense.out_features
    if recipe.normalize:
        (folder / modules[-1]["path"]).mkdir()
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": TOKENS_MAX, "do_lower_case": recipe.lower_case},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "3.0.0"},
            "prompts": dict(recipe.prompts),
            "default_prompt_name": recipe.default_prompt,
            "similarity_fn_name": "cosine",
        },
    )


def save_in_new_format(recipe, transformer_folder, folder):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    parts = [modules.Transformer(transformer_folder)]
    parts.append(modules.Pooling(HIDDEN, recipe.pooling, include_prompt=recipe.include_prompt))
    in_features = HIDDEN
    for index, dense in enumerate(recipe.dense):
        weights = dense_weights(recipe, index, in_features, dense)
        activation = getattr(torch.nn, dense.activation)()
        parts.append(modules.Dense(in_features, dense.out_features, dense.bias, activation))
        parts[-1].linear.load_state_dict(
            {name.removeprefix("linear."): value for name, value in weights.items()}
        )
        in_features = dense.out_features
    if recipe.normalize:
        parts.append(modules.Normalize())
    model = SentenceTransformer(
        modules=parts,
        device="cpu",
        prompts=dict(recipe.prompts),
        default_prompt_name=recipe.default_prompt,
    )
    model.save(str(folder), create_model_card=False)


def make_model(recipe, tokenizer, special_tokens, folder):
    if recipe.new_format:
        with tempfile.TemporaryDirectory() as transformer_folder:
            save_transformer(recipe, tokenizer, special_tokens, pathlib.Path(transformer_folder))
            save_in_new_format(recipe, transformer_folder, folder)
        return
    save_transformer(recipe, tokenizer, special_tokens, folder)
    if not recipe.bare:
        write_modules(recipe, folder)


def make_models(texts, output, recipes=RECIPES):
    """Writes output/NAME for every recipe; output must not hold them yet."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizers = train_tokenizers(texts)
    for recipe in recipes:
        folder = pathlib.Path(output) / recipe.name
        folder.mkdir(parents=True)
        make_model(recipe, *tokenizers[recipe.family], folder)


def main():
    making.main(__doc__, "models", {recipe.name: recipe for recipe in RECIPES}, make_models)


if __name__ == "__main__":
    main()
