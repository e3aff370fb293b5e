#!/usr/bin/env python3
# In: the built textvec, package registries. Out: textvec beside its rivals: a page, JSON, pictures.
"""Measures textvec and its rivals: same models, same texts, same cores, in turn.

Sets up each rival in an environment of its own in WORK, makes the forms of the models that they
read (15 GB in all with Qwen3), tries each rival's settings and keeps the best, then measures: in
each round every rival once, a process each, one at a time, warm. Whoever cannot be installed or
fails is a line of the report. A run that was stopped goes on where it was: the same command again.

usage: python bench/rivals/run.py --work FOLDER [--quick] [--rounds N] [--only NAME...]
with the Python that scripts/setup --tests made, after
  cmake --preset release -DTEXTVEC_BUILD_BENCH=ON ... && cmake --build --preset release
Results: WORK/results/{rivals.json,rivals.md,*.png}; --docs also writes docs/performance.md.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

import adapters  # noqa: E402
import environments  # noqa: E402
import machine  # noqa: E402
import models  # noqa: E402
import numpy as np  # noqa: E402
import prepare  # noqa: E402
import report  # noqa: E402
import texts  # noqa: E402
from environments import Unavailable  # noqa: E402

ALL = 1 << 20  # a batch size: all texts at once, however many there are
JOB_SECONDS_MAX = 3600
PREPARE_SECONDS_MAX = 3600
GUARDED = ("8x32", "mixed")  # whose vectors are compared
POOLING_OF_LLAMA = {"mean": 1, "last": 3}

# name: adapter, precision, environment, the forms of the model that it needs
RIVALS = {
    "textvec f32": ("textvec", "f32", None, ()),
    "textvec int8": ("textvec", "int8", None, ()),
    "onnxruntime f32": ("onnxruntime", "f32", None, ("onnx",)),
    "onnxruntime int8": ("onnxruntime", "int8", None, ("onnx", "onnx_int8")),
    "fastembed": ("fastembed", "f32", "fastembed", ("onnx", "fastembed")),
    "fastembed, best batch": ("fastembed-best", "f32", "fastembed", ("onnx", "fastembed")),
    "OpenVINO f32": ("openvino", "f32", "openvino", ("onnx",)),
    "OpenVINO int8": ("openvino-int8", "int8", "openvino", ("onnx", "openvino_int8")),
    "sentence-transformers": ("sentence-transformers", "f32", None, ()),
    "llama.cpp f32": ("llama", "f32", "llama", ("gguf_f32",)),
    "llama.cpp Q8_0": ("llama", "int8", "llama", ("gguf_q8_0",)),
    "TEI": ("tei", "f32", None, ()),
}

# The works of each model. `trial`: on which the settings of each kind are tried, and with how many
# of the mixed texts.
MODELS = {
    "minilm": {
        "title": "all-MiniLM-L6-v2",
        "works": "1x12 1x32 1x64 1x128 1x256 8x32 32x32 8x128 mixed",
        "trial": {"one": "1x64", "batch": "32x32", "mixed": 96},
        "mixed": 320,
    },
    "qwen3": {
        "title": "Qwen3-Embedding-0.6B's size, random weights",
        "works": "1x12 1x32 1x64 1x256 4x32 8x32 8x128 mixed",
        "trial": {"one": "1x64", "batch": "8x32", "mixed": 6},
        "mixed": 12,
    },
}
QUICK = {"works": "1x12 8x32 mixed", "mixed": {"minilm": 64, "qwen3": 4}}


def say(words):
    print(f"rivals: {words}", file=sys.stderr, flush=True)


def kind_of(work):
    return "mixed" if work == "mixed" else "one" if work.startswith("1x") else "batch"


def write_json(path, value):
    """In one rename: half a result must not look like one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(path)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


# --- What is there before the first round


def prepared(name, model, work):
    """The rival's Python; what it reads is made. Unavailable says what is not to be had."""
    _, _, environment, forms = RIVALS[name]
    python = sys.executable
    if environment == "llama":
        python = environments.llama(work)
    elif environment:
        python = environments.environment(environment, work)
    for form in ("model", *forms):
        make_form(form, model, work, python)
    return python


def make_form(form, model, work, python):
    files = prepare.files_of(model, work)
    path = pathlib.Path(files[form])
    if path.exists():
        return
    say(f"making {model}'s {form}")
    log = work / "logs" / f"{model}-{form}.log"
    if form.startswith("gguf"):
        source = environments.llama_source(work, python)
        convert = source / "vendor/llama.cpp/convert_hf_to_gguf.py"
        kind = form.removeprefix("gguf_")
        unfinished = path.with_name("unfinished-" + path.name)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, convert, files["model"], "--outfile", unfinished]
        more = environments.converter_environment(work)
        environments.checked([*command, "--outtype", kind], PREPARE_SECONDS_MAX, log, env=more)
        unfinished.rename(path)
    elif form == "openvino_int8":
        unfinished = models.fresh_beside(path.parent)
        unfinished.mkdir(parents=True)
        command = [python, HERE / "compress_openvino.py", files["onnx"], unfinished / path.name]
        environments.checked(command, PREPARE_SECONDS_MAX, log)
        unfinished.rename(path.parent)
    else:
        command = [sys.executable, HERE / "prepare.py", form, model, work]
        environments.checked(command, PREPARE_SECONDS_MAX, log)


def worker_program(options):
    path = pathlib.Path(options.worker or ROOT / "build/release/textvec_worker")
    build = ROOT / "build/release"
    if not options.worker and (build / "CMakeCache.txt").exists():
        log = pathlib.Path(options.work) / "logs/textvec.log"
        configure = ["cmake", "-S", ROOT, "-B", build, "-DTEXTVEC_BUILD_BENCH=ON"]
        environments.checked(configure, 600, log)
        environments.checked(
            ["cmake", "--build", build, "--target", "textvec_worker", "stage_bench"], 3600, log
        )
    if not path.exists():
        sys.exit(f"rivals: {path} is missing: build with -DTEXTVEC_BUILD_BENCH=ON")
    return path


def write_texts(key, work, quick):
    """Files of texts, a line each: {work: (file, how many tokens each text has)}."""
    about = MODELS[key]
    tokenizer = models.tokenizer_of(prepare.model_folder(key, work))
    tokens_max = prepare.MODELS[key]["tokens_max"]
    folder = work / "texts" / (key + ("-quick" if quick else ""))
    folder.mkdir(parents=True, exist_ok=True)
    pages = texts.manual_passages(work / "texts" / texts.MANUAL_PAGES)
    names = (QUICK if quick else about)["works"].split()
    for extra in (about["trial"]["one"], about["trial"]["batch"]):
        names.append(extra)
    written = {}
    for name in names:
        if name == "mixed":
            count = QUICK["mixed"][key] if quick else about["mixed"]
            made = texts.mixed(tokenizer, count, pages)
        else:
            count, tokens = map(int, name.split("x"))
            made = texts.exact(tokenizer, count, tokens)
        path = folder / f"{name}.txt"
        path.write_text("\n".join(made) + "\n", encoding="utf-8")
        written[name] = (path, [min(len(tokenizer.encode(text).ids), tokens_max) for text in made])
    trial = folder / "trial-mixed.txt"
    lines = written["mixed"][0].read_text(encoding="utf-8").splitlines()
    trial.write_text("\n".join(lines[: about["trial"]["mixed"]]) + "\n", encoding="utf-8")
    written["trial-mixed"] = (trial, None)
    return written


def stage_peak(worker, threads):
    """What textvec's own kernels reach, by their benchmark; nothing where it is not built."""
    program = worker.with_name("stage_bench")
    if not program.exists():
        return {}
    chosen = f"linear/f32/rows:(256|1024)/in:1024/out:3072/real_time/threads:{threads}$"
    command = [program, f"--benchmark_filter={chosen}", "--benchmark_format=json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=600)
    if done.returncode != 0:
        return {}
    runs = json.loads(done.stdout)["benchmarks"]
    return {"textvec's kernels": max((run["operations/s"] for run in runs), default=0.0)}


def describe_machine(options, processors, worker):
    return {
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "instruction_sets": machine.instruction_sets(),
        "memory_gib": machine.memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "threads": options.threads,
        "processors": processors,
        "date": datetime.date.today().isoformat(),
        "bandwidth": machine.bandwidth(options.threads),
        "gemm_peak": machine.gemm_peak(options.threads) | stage_peak(worker, options.threads),
    }


# --- One rival, once


def run_job(name, model, python, load, works, options):
    """Starts the rival's process, and returns what it measured. Unavailable when it fails."""
    adapter, precision, _, _ = RIVALS[name]
    work = pathlib.Path(options.work)
    files = prepare.files_of(model, work) | {"precision": precision, "tei": options.tei}
    files["dimension"] = models.config_of(files["model"])["hidden_size"]
    files["final_token"] = models.tokenizer_of(pathlib.Path(files["model"])).encode("a").ids[-1]
    files["llama_pooling"] = POOLING_OF_LLAMA[files["pooling"]]
    if adapter == "textvec":
        command = [options.worker, files["model"], precision, options.threads]
        given = "".join(
            f"{one['name']}\t{one['seconds']}\t{one['texts']}\t{one['vectors'] or '-'}\n"
            for one in works
        )
    else:
        command = [python, HERE / "worker.py"]
        job = {"adapter": adapter, "files": files, "load": load, "threads": options.threads}
        given = json.dumps(job | {"workloads": works})
    environment = os.environ | {
        "OMP_NUM_THREADS": str(options.threads),
        "HF_HUB_OFFLINE": "1",
        "TEXTVEC_CACHE": str(work / "cache"),
    }
    log = work / "logs" / f"{model}-{name.replace(' ', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "wb") as words:
        try:
            done = subprocess.run(
                list(map(str, command)), input=given.encode(), stdout=subprocess.PIPE,
                stderr=words, env=environment, timeout=JOB_SECONDS_MAX,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unavailable(f"took over {JOB_SECONDS_MAX} s") from None
    if done.returncode != 0:
        raise Unavailable(f"exit code {done.returncode}: {environments.last_words(log)}")
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def usual_settings(adapter):
    """For a quick look: nothing is tried. All texts of one length at once, others one by one."""
    found = {}
    for kind, count in {"one": 1, "batch": ALL, "mixed": 1}.items():
        call = adapter.call_settings(count)[-1]
        found[kind] = {"load": adapter.load_settings[0], "call": call, "tried": 1}
    return found


def find_settings(name, model, python, written, options):
    """{kind: {"load", "call", "tried"}}: the fastest of all that the rival takes."""
    adapter = RIVALS[name][0]
    if adapter == "textvec":  # it decides itself; its graph is made beforehand, as others' forms are
        run_job(name, model, python, {}, [], options)
        return {kind: {"load": {}, "call": {}, "tried": 1} for kind in ("one", "batch", "mixed")}
    tried = adapters.ADAPTERS[adapter]()
    if options.quick:
        return usual_settings(tried)
    trial = MODELS[model]["trial"]
    names = {"one": trial["one"], "batch": trial["batch"], "mixed": "trial-mixed"}
    works = [
        {"name": kind, "texts": str(written[of][0]), "call": None, "seconds": 0.5}
        for kind, of in names.items()
    ]
    best = {}
    for load in tried.load_settings:
        answer = run_job(name, model, python, load, works, options)
        for one in answer["workloads"]:
            kept = best.setdefault(one["name"], {"seconds": float("inf"), "tried": 0})
            kept["tried"] += 1
            seconds = min(one["seconds"])
            if seconds < kept["seconds"]:
                kept |= {"seconds": seconds, "load": load, "call": one["call"]}
    count = int(trial["batch"].split("x")[0])
    if best["batch"]["call"].get("batch") == count:
        best["batch"]["call"]["batch"] = ALL
    return best


def measure_once(name, model, python, settings, written, vectors, options):
    """One round of one rival: a process for each way of loading it that its settings name."""
    names = [work for work in works_of(model, options)]
    groups = {}
    for work in names:
        chosen = settings[kind_of(work)]
        one = {
            "name": work,
            "texts": str(written[work][0]),
            "call": chosen["call"],
            "seconds": options.seconds,
            "vectors": str(vectors / f"{work}.npy") if work in GUARDED else None,
        }
        groups.setdefault(json.dumps(chosen["load"]), []).append(one)
    vectors.mkdir(parents=True, exist_ok=True)
    whole = {"works": {}, "memory_mib": 0, "peak_memory_mib": 0, "load_seconds": 0}
    for load, works in groups.items():
        answer = run_job(name, model, python, json.loads(load), works, options)
        whole["versions"] = answer["versions"]
        whole["load_seconds"] = max(whole["load_seconds"], answer["load_seconds"])
        for one in answer["workloads"]:
            whole["works"][one["name"]] = one["seconds"]
            for key in ("memory_mib", "peak_memory_mib"):
                whole[key] = max(whole[key], one[key])
    return whole


def works_of(model, options):
    return (QUICK if options.quick else MODELS[model])["works"].split()


# --- All rivals, round about


def turned(names, round_index):
    """Another one begins each round, so that nobody always follows the same one."""
    shift = round_index % len(names)
    return names[shift:] + names[:shift]


def measure_model(model, options, results):
    work = pathlib.Path(options.work)
    prepared_rivals, failed = {}, {}
    make_form("model", model, work, sys.executable)
    written = write_texts(model, work, options.quick)
    for name in options.only:
        key = f"{model}-{name.replace(' ', '-')}"
        try:
            if name == "TEI" and not options.tei:
                raise Unavailable("its binary was not given (--tei FILE)")
            python = prepared(name, model, work)
            path = results / "settings" / f"{key}.json"
            if not path.exists():
                say(f"{model}: trying the settings of {name}")
                write_json(path, find_settings(name, model, python, written, options))
            prepared_rivals[name] = (python, read_json(path))
        except Unavailable as reason:
            say(f"{model}: {name} is out: {reason}")
            failed[name] = str(reason)
    for index in range(options.rounds):
        for name in turned(list(prepared_rivals), index):
            path = results / "rounds" / f"{index}-{model}-{name.replace(' ', '-')}.json"
            if path.exists() or name in failed:
                continue
            python, settings = prepared_rivals[name]
            begin = time.monotonic()
            vectors = results / "vectors" / f"{model}-{name.replace(' ', '-')}"
            try:
                measured = measure_once(name, model, python, settings, written, vectors, options)
            except Unavailable as reason:
                say(f"{model}: {name} is out: {reason}")
                failed[name] = str(reason)
                continue
            write_json(path, measured)
            say(f"{model}: round {index + 1}, {name}: {time.monotonic() - begin:.0f} s")
    return written, failed


def smallest_cosines(results, model, name):
    """Of the rival's vectors and textvec's in f32; what is not a number is no agreement."""
    compared = {}
    for work in GUARDED:
        ours = results / "vectors" / f"{model}-textvec-f32" / f"{work}.npy"
        theirs = results / "vectors" / f"{model}-{name.replace(' ', '-')}" / f"{work}.npy"
        if ours.exists() and theirs.exists():
            a, b = np.load(ours).astype(np.float64), np.load(theirs).astype(np.float64)
            if a.shape != b.shape:
                compared[work] = -1.0
                continue
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            cosines = np.nan_to_num((a * b).sum(axis=1) / norms, nan=-1.0)
            compared[work] = float(cosines.min())
    return compared


def in_words(settings):
    def words(one):
        chosen = one["load"] | one["call"]
        shown = {k: "all" if v == ALL else v for k, v in chosen.items()}
        return " ".join(f"{key}={value}" for key, value in shown.items()) or "its own"

    kinds = {kind: words(one) for kind, one in settings.items()}
    return {"all": words(settings["one"])} if len(set(kinds.values())) == 1 else kinds


def collect(model, options, results, written, failed):
    """The report's record of a model: every round that is there."""
    config = models.config_of(prepare.model_folder(model, pathlib.Path(options.work)))
    works = works_of(model, options)
    record = {
        "title": MODELS[model]["title"],
        "texts": {work: written[work][1] for work in works},
        "operations": {work: models.operations(config, written[work][1]) for work in works},
        "rivals": {},
    }
    for name in options.only:
        key = f"{model}-{name.replace(' ', '-')}"
        rounds = [read_json(p) for p in sorted((results / "rounds").glob(f"*-{key}.json"))]
        rounds = rounds[: options.rounds]
        if name in failed and not rounds:
            record["rivals"][name] = {"failed": failed[name]}
            continue
        rival = {"precision": RIVALS[name][1], "versions": rounds[0]["versions"]}
        rival["works"] = {
            work: [report.summary(one["works"][work])["median"] for one in rounds] for work in works
        }
        for measured in ("memory_mib", "peak_memory_mib", "load_seconds"):
            rival[measured] = report.summary([one[measured] for one in rounds])["median"]
        rival["settings"] = in_words(read_json(results / "settings" / f"{key}.json"))
        rival["cosine"] = smallest_cosines(results, model, name)
        if name in failed:
            rival["failed"] = failed[name]
        record["rivals"][name] = rival
    return record


def check_same_build(results, worker):
    """Rounds of two builds must not be mixed."""
    digest = hashlib.sha256(worker.read_bytes()).hexdigest()
    note = results / "textvec.sha256"
    if note.exists() and note.read_text() != digest:
        sys.exit(f"rivals: {results} holds rounds of another textvec; --fresh begins anew")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(digest)


def write_results(result, options, results):
    write_json(results / "rivals.json", result)
    images = []
    try:
        python = environments.environment("plot", pathlib.Path(options.work))
        log = pathlib.Path(options.work) / "logs/plot.log"
        command = [python, HERE / "plot.py", results / "rivals.json", results / "performance"]
        environments.checked(command, 600, log)
        images = sorted(path.name for path in (results / "performance").glob("*.png"))
    except Unavailable as reason:
        say(f"no pictures: {reason}")
    page = report.page(result, images)
    (results / "rivals.md").write_text(page, encoding="utf-8")
    if options.docs:
        path = ROOT / "docs/performance.md"
        path.write_text(report.put_between_markers(path.read_text(encoding="utf-8"), page))
        (ROOT / "docs/performance").mkdir(exist_ok=True)
        for name in images:
            shutil.copy(results / "performance" / name, ROOT / "docs/performance" / name)
    print(page)


def command_line(arguments):
    """As anybody would repeat it: without this machine's folders."""
    words, before = [], ""
    for word in arguments:
        if before in ("--work", "--worker", "--tei"):
            word = "FOLDER" if before == "--work" else "FILE"
        if word not in ("--fresh", "--docs"):
            words.append(f'"{word}"' if " " in word else word)
        before = word
    return " ".join(["python bench/rivals/run.py", *words])


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", required=True, metavar="FOLDER", help="made when it is missing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of each work in a round")
    parser.add_argument("--threads", type=int, default=machine.THREADS)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument(
        "--only", nargs="+", default=list(RIVALS), choices=list(RIVALS), metavar="NAME",
        help="some of: " + "; ".join(RIVALS),
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="one round of a few works, with no setting tried"
    )
    parser.add_argument("--fresh", action="store_true", help="forget rounds and settings")
    parser.add_argument("--worker", metavar="FILE", help="(build/release/textvec_worker)")
    parser.add_argument("--tei", metavar="FILE", help="text-embeddings-inference's binary")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md, too")
    options = parser.parse_args()
    options.work = str(pathlib.Path(options.work).resolve())
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    return options


def main():
    options = parse_arguments()
    processors = machine.cores_to_use(options.threads)
    if processors:
        os.sched_setaffinity(0, processors)  # all processes that follow inherit it
    results = pathlib.Path(options.work) / ("results-quick" if options.quick else "results")
    if options.fresh:
        shutil.rmtree(results, ignore_errors=True)
    try:
        options.worker = worker_program(options)
    except Unavailable as reason:
        sys.exit(f"rivals: textvec does not build: {reason}")
    check_same_build(results, options.worker)
    path = results / "machine.json"
    if not path.exists():
        say("measuring the machine")
        write_json(path, describe_machine(options, processors, options.worker))
    result = {
        "command": command_line(sys.argv[1:]),
        "machine": read_json(path),
        "models": {},
    }
    for model in options.models:
        written, failed = measure_model(model, options, results)
        result["models"][model] = collect(model, options, results, written, failed)
    write_results(result, options, results)


if __name__ == "__main__":
    main()
