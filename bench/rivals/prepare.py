# In: a model's name. Out: the forms of it that the rivals read, below the work folder.
"""Makes one form of one model; run.py calls it, a process each, so that its memory goes again.

usage: prepare.py FORM MODEL WORK with FORM model, onnx, onnx_int8 or fastembed
"""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import models  # noqa: E402
import parity  # noqa: E402
from machine import instruction_sets  # noqa: E402

MODELS = {
    "minilm": {"tokens_max": 256, "pooling": "mean"},
    "qwen3": {"tokens_max": 32768, "pooling": "last"},
}
VNNI = {"avx_vnni", "avx512_vnni", "asimddp"}


def model_folder(name, work):
    return parity.minilm() if name == "minilm" else work / "qwen3" / "model"


def files_of(name, work):
    """Where each form is or will be. What is not there is not missed until somebody loads it."""
    folder = work / name
    about = MODELS[name]
    model = model_folder(name, work)
    return {
        "model": str(model),
        "onnx": str(folder / "plain" / "model.onnx"),
        "onnx_int8": str(folder / "plain-int8" / "model.onnx"),
        "fastembed": str(folder / "plain" / "tokenizer_config.json"),
        "openvino_int8": str(folder / "openvino-int8" / "model.xml"),
        "gguf_f32": str(folder / "f32.gguf"),
        "gguf_q8_0": str(folder / "q8_0.gguf"),
        **about,
    }


def quantise(plain, path):
    """ONNX Runtime's dynamic int8. Seven bits where products of eight saturate, as it advises."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    unfinished = models.fresh_beside(path.parent)
    unfinished.mkdir(parents=True)
    size = sum(file.stat().st_size for file in plain.parent.iterdir())
    quantize_dynamic(
        str(plain),
        str(unfinished / path.name),
        per_channel=True,
        reduce_range=not VNNI & set(instruction_sets()),
        weight_type=QuantType.QInt8,
        use_external_data_format=size > 1 << 30,
    )
    unfinished.rename(path.parent)


def for_fastembed(model, folder, tokens_max):
    """Beside the graph the tokenizer, which says where to cut a text. onnx refuses links."""
    for name in ("config.json", "tokenizer.json", "special_tokens_map.json"):
        if (model / name).exists():
            shutil.copy(model / name, folder / name)
    config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["model_max_length"] = tokens_max
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def main():
    form, name, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    files = files_of(name, work)
    model, plain = pathlib.Path(files["model"]), pathlib.Path(files["onnx"])
    if form == "model":
        models.make_qwen3_in(model)
    elif form == "onnx":
        models.export(model, plain)
    elif form == "onnx_int8":
        quantise(plain, pathlib.Path(files["onnx_int8"]))
    elif form == "fastembed":
        for_fastembed(model, plain.parent, files["tokens_max"])
    else:
        sys.exit(f"prepare.py: does not know {form}")


if __name__ == "__main__":
    main()
