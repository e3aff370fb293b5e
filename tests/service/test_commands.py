# In: tokenize, info, compile, doctor, --version, --help, and every way to name a model.
# Goal: what other programs rely on: keys, options, exit codes, files that other software reads.
import json
import os
import pathlib
import re
import shutil

import numpy
import onnxruntime
import pytest
import tokenizers

import serving
from command_line import BINARY, MINILM, ROOT, assert_refused, limit_file_size, run
from tiny_folder import HIDDEN, PROMPTS, TOKENS_MAX

COMMANDS = ["embed", "tokenize", "info", "compile", "doctor", "verify", "bench", "tune"]


# --- tokenize

TEXTS = [
    "Hello, world",
    "",
    " \t spaces  everywhere ",
    "unbelievably antidisestablishmentarianism",
    "na\u00efve caf\u00e9 \u00dcBER stra\u00dfe",
    "\u6771\u4eac\u90fd \u65e5\u672c\u8a9e",
    "\U0001f600 emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "[CLS] [SEP] [MASK] [PAD]",
    "x" * 150,
    "a\u0301 e\u0301 combined; \u200bzero \u00adwidth",
    "1,234.56 $9.99 50% user@example.com https://example.com/?q=1",
]


def test_ids_are_those_of_the_python_library():
    reference = tokenizers.Tokenizer.from_file(str(pathlib.Path(MINILM) / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    answer = run("tokenize", *TEXTS)
    assert (answer.code, answer.err) == (0, "")
    expected = [encoding.ids for encoding in reference.encode_batch(TEXTS)]
    assert answer.lines() == [{"index": n, "ids": ids} for n, ids in enumerate(expected)]


def test_tokenize_puts_the_prompt_before_the_text(tiny):
    def ids(*arguments):
        return run("tokenize", *arguments, model=tiny).lines()

    assert ids("rain", "--role", "query") == ids(PROMPTS["query"] + "rain")
    assert ids("rain", "--prompt", "passage") == ids(PROMPTS["passage"] + "rain")


def test_tokenize_writes_a_file(tiny, tmp_path):
    output = tmp_path / "ids.jsonl"
    answer = run("tokenize", "a", "b", "--output", output, model=tiny)
    assert (answer.code, answer.out) == (0, b"")
    assert output.read_bytes() == run("tokenize", "a", "b", model=tiny).out


# --- info


def info(model, *arguments, **options):
    answer = run("info", "--json", *arguments, model=model, **options)
    assert answer.code == 0, answer.err
    (line,) = answer.lines()
    return line


def test_info_has_the_keys_of_the_contract(tiny):
    about = info(tiny)
    wanted = {"model", "architecture", "dimension", "tokens_max", "pooling", "prompts", "precision"}
    wanted |= {"path", "provider", "placement"}
    assert wanted <= set(about)
    assert about["model"] == "tiny" and about["folder"] == str(tiny)
    assert (about["architecture"], about["path"], about["precision"]) == ("bert", "fused", "f32")
    assert (about["dimension"], about["tokens_max"]) == (HIDDEN, TOKENS_MAX)
    assert (about["pooling"], about["prompts"]) == ("mean", PROMPTS)
    assert about["provider"] == {"wanted": "auto", "used": "cpu", "why": ""}
    (placement,) = about["placement"]
    assert placement["provider"] == "CPUExecutionProvider"
    assert placement["nodes"] > 0 and placement["partitions"] == 1
    assert pathlib.Path(about["graph_file"]).is_file()
    assert "ONNX Runtime" in about["runtime"]


def test_info_of_the_default_model():
    about = info(MINILM)
    assert (about["architecture"], about["dimension"], about["tokens_max"]) == ("bert", 384, 256)
    assert (about["pooling"], about["path"], about["notes"]) == ("mean", "fused", [])


def test_info_says_what_the_options_changed(tiny):
    options = ["--pooling", "cls", "--threads", "3", "--batch-tokens", "77"]
    about = info(tiny, *options)
    assert (about["pooling"], about["threads"], about["batch_tokens_max"]) == ("cls", 3, 77)


def test_info_says_what_was_assumed(own_tiny):
    (own_tiny / "modules.json").unlink()
    (note,) = info(own_tiny)["notes"]
    assert "modules.json" in note and "mean" in note


def test_info_is_a_table_for_people(tiny):
    answer = run("info", model=tiny)
    assert (answer.code, answer.err) == (0, "")
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in answer.out.decode().splitlines())
    assert rows["model"] == "tiny"
    assert rows["dimension"] == str(HIDDEN)
    assert rows["longest text"] == f"{TOKENS_MAX} tokens"
    assert (rows["pooling"], rows["path"], rows["precision"]) == ("mean", "fused", "f32")
    assert rows["prompt query"] == json.dumps(PROMPTS["query"])
    assert rows["provider"] == "cpu (wanted: auto)"
    # The values stand below each other.
    starts = {re.match(r"\S+(?: \S+)*  +", line).end() for line in answer.out.decode().splitlines()}
    assert len(starts) == 1


@pytest.mark.parametrize("name", [b'quote " \\ \n', b"no UTF-8 \xff"])
def test_json_is_json_whatever_the_folder_is_called(tiny, tmp_path, name):
    folder = os.fsencode(tmp_path) + b"/" + name
    os.symlink(tiny, folder)
    for command in ["info", "doctor"]:
        answer = run(command, "--json", model=os.fsdecode(folder))
        assert answer.code == 0
        json.loads(answer.out.decode())


# --- compile


def states_by_python(folder, ids):
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    length = max(map(len, ids))
    padded = numpy.array([row + [0] * (length - len(row)) for row in ids], dtype=numpy.int64)
    mask = numpy.array([[1] * len(row) + [0] * (length - len(row)) for row in ids])
    feeds = {"input_ids": padded, "attention_mask": mask.astype(numpy.int64)}
    (states,) = session.run(None, feeds)
    return states, mask


@pytest.mark.parametrize("model", ["tiny", MINILM])
def test_a_compiled_graph_runs_in_python(tiny, tmp_path, model):
    folder = tiny if model == "tiny" else model
    output = tmp_path / "new" / "folder"
    answer = run("compile", "--output", output, model=folder)
    assert (answer.code, answer.err) == (0, "")
    assert str(output) in answer.out.decode() and "CPUExecutionProvider" in answer.out.decode()
    assert sorted(file.name for file in output.iterdir()) == ["model.onnx", "model.onnx.data"]

    texts = ["a cat sat on the mat", "rain", "the quick brown fox"]
    ids = [line["ids"] for line in run("tokenize", *texts, model=folder).lines()]
    states, mask = states_by_python(output, ids)
    means = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    means /= numpy.linalg.norm(means, axis=1, keepdims=True)
    vectors = run("embed", *texts, model=folder).vectors()
    numpy.testing.assert_allclose(vectors, means, atol=2e-6)


def test_a_compiled_graph_runs_in_textvec(tiny, own_tiny):
    # As somebody's ONNX file: the weights are not there any more.
    assert run("compile", "--output", own_tiny / "onnx", model=tiny).code == 0
    (own_tiny / "model.safetensors").unlink()
    assert info(own_tiny)["path"] == "as-is"
    expected = run("embed", "rain", model=tiny).vectors()
    for model in [own_tiny, own_tiny / "onnx" / "model.onnx"]:
        answer = run("embed", "rain", model=model)
        assert (answer.code, answer.err) == (0, "")
        numpy.testing.assert_allclose(answer.vectors(), expected, atol=1e-6)
    answer = run("compile", "--output", own_tiny / "again", model=own_tiny)
    assert_refused(answer, 2, "ONNX", "safetensors")


def test_compile_replaces_what_an_older_one_wrote(tiny, tmp_path):
    for name in ["model.onnx", "model.onnx.data"]:
        (tmp_path / name).write_bytes(b"older")
    (tmp_path / "of somebody else").write_bytes(b"kept")
    assert run("compile", "--output", tmp_path, model=tiny).code == 0
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert (tmp_path / "of somebody else").read_bytes() == b"kept"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--target", "static", "--precision", "int8"], ["int8", "f16"]),
        (["--target", "static", "--bucket", "65x8"], ["65x8", "64", "2048"]),
        (["--target", "static", "--bucket", "1x65"], ["1x65", "64"]),
        (["--target", "static", "--bucket", "1x8", "--bucket", "1x8"], ["1x8", "twice"]),
        (["--target", "gpu"], ["--target", "fused|static", '"gpu"']),
        (["--precision", "f16"], ["f16", "f32"]),
        (["--precision", "f64"], ["--precision", "auto|f32|f16|int8", '"f64"']),
        (["--bucket", "1x8"], ["--bucket", "static"]),
        *(
            (["--target", "static", "--bucket", bucket], [f'"{bucket}"', "4096", "1048576"])
            for bucket in ["8", "8x", "x8", "0x8", "8x0", "-1x8", "8x1048577", "4097x8", "1x2x3"]
        ),
    ],
    ids=" ".join,
)
def test_a_graph_that_cannot_be_written_is_refused(tiny, tmp_path, arguments, words):
    output = tmp_path / "compiled"
    answer = run("compile", *arguments, "--output", output, model=tiny)
    assert_refused(answer, 2, *words)
    assert not output.exists()


def test_int8_is_said_and_its_graph_runs(tiny, tmp_path):
    assert info(tiny, "--precision", "int8")["precision"] == "int8"
    wanted = run("embed", "--precision", "int8", "a word", model=tiny)
    answer = run("compile", "--precision", "int8", "--output", tmp_path, model=tiny)
    assert (wanted.code, answer.code) == (0, 0), answer.err
    shutil.copy(tiny / "tokenizer.json", tmp_path)
    found = run("embed", "--pooling", "mean", "a word", model=tmp_path / "model.onnx")
    assert found.code == 0, found.err
    assert found.out == wanted.out
    assert run("embed", "a word", model=tiny).out != wanted.out
    # The file says that it leaves padding out, so that texts of any lengths are one batch here too.
    with serving.serving("--pooling", "mean", model=tmp_path / "model.onnx") as server:
        before = server.metric("te_batch_next_size_count")
        texts = ["a word", "a cat sat on the mat", "x"]
        vectors = server.vectors(texts)
        assert server.metric("te_batch_next_size_count") == before + 1
        for text, vector in zip(texts, vectors):
            serving.same(vector[None], server.vectors([text]))
        assert server.end() == 0


def test_static_graphs_share_one_file_of_weights(tiny, tmp_path):
    buckets = [word for bucket in ("2x8", "1x64") for word in ("--bucket", bucket)]
    answer = run("compile", "--target", "static", *buckets, "--output", tmp_path, model=tiny)
    assert (answer.code, answer.err) == (0, "")
    names = ["model.onnx.data", "model_1x64.onnx", "model_2x8.onnx"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    for name in names[1:]:
        assert name in answer.out.decode()
        session = onnxruntime.InferenceSession(str(tmp_path / name))
        assert all(isinstance(size, int) for port in session.get_inputs() for size in port.shape)


# --- The target static where a model runs


def test_info_states_what_a_bucket_takes(tiny):
    chosen = ["--target", "static", "--precision", "f16", "--buckets", "2x8,1x64"]
    about = json.loads(run("info", "--json", *chosen, model=tiny).out)
    assert (about["path"], about["precision"]) == ("static", "f16")
    first, second = about["buckets"]
    assert (first["texts"], first["tokens"]) == (2, 8)
    assert (second["texts"], second["tokens"]) == (1, 64)
    assert first["program_bytes"] > 0 and first["memory_bytes"] > 0
    assert second["memory_bytes"] == 0, "opened at its first use"
    assert about["notes"] == [] and info(tiny)["buckets"] == []
    table = run("info", *chosen, model=tiny).out.decode()
    assert re.search("^bucket 1x64 .*not open", table, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--target", "static", "--buckets", "1x65"], ["1x65", "64"]),
        (["--target", "static", "--buckets", "1x8,1x8"], ["1x8", "twice"]),
        (["--target", "static", "--buckets", "65x8"], ["65x8", "64", "2048"]),
        (["--target", "static", "--buckets", "1x8,"], ["--buckets", '""', "TEXTSxTOKENS"]),
        (["--target", "static", "--precision", "int8"], ["int8", "f32", "f16"]),
        (["--buckets", "1x8"], ["buckets", "static"]),
        (["--target", "gpu"], ["--target", "auto|fused|static", '"gpu"']),
    ],
    ids=" ".join,
)
def test_a_static_model_that_cannot_be_is_refused(tiny, arguments, words):
    assert_refused(run("embed", "rain", *arguments, model=tiny), 2, *words)


def test_an_onnx_file_has_no_target(tiny, own_tiny):
    assert run("compile", "--output", own_tiny / "onnx", model=tiny).code == 0
    model = own_tiny / "onnx" / "model.onnx"
    assert_refused(run("embed", "rain", "--target", "static", model=model), 2, "static", "ONNX")


def test_texts_longer_than_every_bucket_run_all_the_same(tiny):
    texts = ["rain", "a cat sat on the mat and looked at the quick brown fox " * 3]
    expected = run("embed", *texts, model=tiny).vectors()
    answer = run("embed", *texts, "--target", "static", "--buckets", "2x8", model=tiny)
    assert answer.code == 0
    numpy.testing.assert_allclose(answer.vectors(), expected, atol=2e-6)
    (note,) = info(tiny, "--target", "static", "--buckets", "2x8")["notes"]
    assert "more than 8 tokens run on the processor" in note


def test_compile_needs_an_output(tiny):
    assert_refused(run("compile", model=tiny), 2, "--output")


def test_a_folder_that_cannot_be_written_is_named(tiny, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for output in [file, file / "below", "/proc/textvec"]:
        assert_refused(run("compile", "--output", output, model=tiny), 4, output)


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_disk_that_fills_leaves_no_half_graph(tiny, tmp_path, size):
    limit = limit_file_size(size)
    answer = run("compile", "--output", tmp_path, model=tiny, preexec_fn=limit)
    assert_refused(answer, 4, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- doctor


def doctor(code, model, **options):
    answer = run("doctor", "--json", model=model, **options)
    assert answer.code == code, answer.err
    (line,) = answer.lines()
    return line


def test_doctor_is_content(tiny):
    report = doctor(0, tiny)
    assert report["passed"] is True
    assert "ONNX Runtime" in report["runtime"]
    machine = {"system", "processor", "cores_physical", "cores_logical", "memory_bytes"}
    assert machine | {"instruction_sets"} == set(report["machine"])
    assert 1 <= report["machine"]["cores_physical"] <= report["machine"]["cores_logical"]
    usable = {entry["provider"]: entry["usable"] for entry in report["providers"]}
    assert usable["cpu"] is True
    assert {"coreml", "webgpu", "cuda", "openvino"} <= set(usable)
    assert all(entry["usable"] or entry["why"] for entry in report["providers"])
    assert report["cache"]["writable"] is True
    assert report["cache"]["folder"] == os.environ["TEXTVEC_CACHE"]
    assert [check["passed"] for check in report["checks"]] == [True] * 3
    assert isinstance(report["advice"], list)


def failed(report):
    """The notes of the checks that failed."""
    assert report["passed"] is False
    return [check["note"] for check in report["checks"] if not check["passed"]]


def test_doctor_misses_a_model():
    report = doctor(1, "no-such-model")
    (note,) = failed(report)
    assert "no-such-model" in note
    assert any("--model" in advice for advice in report["advice"])


def test_doctor_finds_a_bad_model(own_tiny):
    os.truncate(own_tiny / "model.safetensors", 100)
    (note,) = failed(doctor(1, own_tiny))
    assert "model.safetensors" in note


def test_doctor_can_do_without_a_cache(tiny, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    report = doctor(0, tiny, env={"TEXTVEC_CACHE": str(file)})
    assert report["passed"] is True
    assert report["cache"]["writable"] is False and report["cache"]["why"]
    assert any("TEXTVEC_CACHE" in advice for advice in report["advice"])


def test_doctor_leaves_nothing_in_the_cache(tiny, tmp_path):
    cache = tmp_path / "cache"
    doctor(0, tiny, env={"TEXTVEC_CACHE": str(cache)})
    assert sorted(path.name for path in cache.iterdir()) == ["graphs", "stamps"]


@pytest.mark.parametrize("model, code", [("tiny", 0), ("no-such-model", 1)])
def test_doctor_is_a_table_for_people(tiny, model, code):
    answer = run("doctor", model=tiny if model == "tiny" else model)
    assert (answer.code, answer.err) == (code, "")
    table = answer.out.decode()
    for label in ["runtime", "processor", "memory", "provider cpu", "cache", "model found"]:
        assert re.search(f"^{label}  ", table, re.MULTILINE)
    assert ("FAILED" in table) == (code == 1)


# --- Help

LOADING = (
    "pooling precision provider require-provider provider-option provider-library trial-seconds "
    "check-weights threads workers batch-tokens target buckets help"
)
OPTIONS = {
    "embed": "input input-format field skip output format role prompt instruction too-long "
    "truncate-side chunk-tokens chunk-overlap dimensions no-normalize timeout model " + LOADING,
    "tokenize": "input input-format field skip output role prompt instruction too-long "
    "truncate-side model help",
    "info": "json model " + LOADING,
    "compile": "target precision bucket output model help",
    "doctor": "json model " + LOADING,
    "verify": "reference tolerance dimensions json model " + LOADING,
    "bench": "shape repeat seconds json model " + LOADING,
    "tune": "seconds json model precision help",
}


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_every_option_of_a_command(command, flag):
    answer = run(command, flag, model=None)
    assert (answer.code, answer.err) == (0, "")
    listed = re.findall(r"^  (?:-\w,)?--([\w-]+)", answer.out.decode(), re.MULTILINE)
    assert sorted(listed) == sorted(OPTIONS[command].split())
    assert f"textvec {command}" in answer.out.decode()


def test_help_holds_nothing_of_the_parsers_own_language():
    shown = run("embed", "--help", model=None).out.decode()
    assert not re.search("FLOAT|UINT|REQUIRED|1e\\+", shown), shown


def test_help_lists_commands_and_exit_codes():
    answer = run("--help", model=None)
    assert (answer.code, answer.err) == (0, "")
    for word in [*COMMANDS, "--version", "0 done", "1 ", "2 ", "3 ", "4 ", "5 ", "130 "]:
        assert re.search(rf"(^|\s){re.escape(word)}", answer.out.decode())


def test_the_version_is_that_of_the_project():
    answer = run("--version", model=None)
    project = (ROOT / "CMakeLists.txt").read_text()
    version = re.search(r"project\(\s*textvec\s+VERSION\s+([\d.]+)", project)[1]
    assert (answer.code, answer.out.decode(), answer.err) == (0, f"textvec {version}\n", "")


def test_no_command_takes_what_it_does_not_know(tiny):
    for command in [["info"], ["doctor"], ["compile", "--output", "nowhere"]]:
        assert_refused(run(*command, "word", model=tiny), 2, "word")
        assert_refused(run(*command, "--", "word", model=tiny), 2, command[0])


def test_the_command_runs_from_any_folder(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "near")
    assert pathlib.Path(BINARY).is_absolute()
    for name in ["near", "./near", "near/", "../" + tmp_path.name + "/near"]:
        assert info(name, cwd=tmp_path)["model"] == "near"
    assert info(".", cwd=tmp_path / "near")["model"] == "near"


# --- Names of models


@pytest.fixture
def caches(tmp_path):
    """No model anywhere but in caches below `tmp_path`."""
    unset = dict.fromkeys(["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "TEXTVEC_MODEL"])
    return {**unset, "TEXTVEC_CACHE": str(tmp_path / "ours"), "HOME": str(tmp_path / "home")}


def put_into_hub(tiny, hub, name, commit="0123abcd"):
    """As huggingface_hub stores a download: links to blobs, in the folder of a commit."""
    repository = hub / ("models--" + name.replace("/", "--"))
    snapshot, blobs = repository / "snapshots" / commit, repository / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(path for path in sorted(tiny.rglob("*")) if path.is_file()):
        link = snapshot / file.relative_to(tiny)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / str(number))
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    return repository


@pytest.mark.parametrize("name", ["owner/model-1.5_x", "model"])
def test_a_name_is_found_in_our_cache(tiny, tmp_path, caches, name):
    folder = tmp_path / "ours/models" / name
    shutil.copytree(tiny, folder)
    about = info(name, env=caches)
    assert (about["model"], about["folder"]) == (name, str(folder))


@pytest.mark.parametrize(
    "variable, value, hub",
    [
        ("HF_HUB_CACHE", "hub", "hub"),
        ("HF_HOME", "face", "face/hub"),
        ("XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub"),
        ("HOME", "home", "home/.cache/huggingface/hub"),
    ],
)
def test_a_name_is_found_in_the_hugging_face_cache(tiny, tmp_path, caches, variable, value, hub):
    put_into_hub(tiny, tmp_path / hub, "owner/model")
    env = {**caches, variable: str(tmp_path / value)}
    about = info("owner/model", env=env)
    assert about["model"] == "owner/model"
    assert about["folder"].endswith("models--owner--model/snapshots/0123abcd")
    expected = run("embed", "rain", model=tiny).vectors()
    answer = run("embed", "rain", model="owner/model", env=env)
    numpy.testing.assert_allclose(answer.vectors(), expected, atol=1e-6)


def test_our_cache_comes_first_and_a_path_before_both(tiny, tmp_path, caches):
    put_into_hub(tiny, tmp_path / "home/.cache/huggingface/hub", "owner/model")
    assert "snapshots" in info("owner/model", env=caches)["folder"]
    shutil.copytree(tiny, tmp_path / "ours/models/owner/model")
    assert str(tmp_path / "ours") in info("owner/model", env=caches)["folder"]
    shutil.copytree(tiny, tmp_path / "owner/model")
    assert info("owner/model", env=caches, cwd=tmp_path)["folder"] == "owner/model"


@pytest.mark.parametrize("reference", ["", "ffff", "../../../../../outside", ".", "0123abcd/.."])
def test_a_snapshot_that_is_not_there_is_no_model(tiny, tmp_path, caches, reference):
    repository = put_into_hub(tiny, tmp_path / "home/.cache/huggingface/hub", "owner/model")
    shutil.copytree(tiny, tmp_path / "home/outside")
    (repository / "refs/main").write_text(reference)
    answer = run("info", model="owner/model", env=caches)
    assert_refused(answer, 3, '"owner/model"', repository)


def test_the_variable_names_the_model(tiny, tmp_path, caches):
    env = {**caches, "TEXTVEC_MODEL": str(tiny)}
    assert info(None, env=env)["folder"] == str(tiny)
    # What is said on the command line counts more.
    assert_refused(run("info", model="other", env=env), 3, '"other"')


def test_the_default_model_is_named_where_it_is_missing(tmp_path, caches):
    for variable in [None, ""]:
        answer = run("embed", "x", model=None, env={**caches, "TEXTVEC_MODEL": variable})
        name = "sentence-transformers/all-MiniLM-L6-v2"
        assert_refused(answer, 3, f'"{name}"', tmp_path / "ours/models" / name, tmp_path / "home")


def test_an_unknown_name_says_where_it_was_looked_for(tmp_path, caches):
    for command in [["embed", "x"], ["tokenize", "x"], ["info"], ["compile", "--output", tmp_path]]:
        answer = run(*command, model="owner/unknown", env=caches)
        places = [tmp_path / "ours/models/owner/unknown", "models--owner--unknown"]
        assert_refused(answer, 3, '"owner/unknown"', *places)
        assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["a/b/c", "owner/", ".hidden", "owner/.hidden", "wh at", "x" * 97, "x" * 4097]
)
def test_a_name_that_cannot_be_one_is_refused(caches, name):
    answer = run("info", model=name, env=caches)
    assert_refused(answer, 2, "96" if len(name) < 4097 else "4096")


def test_a_path_that_is_not_there_is_named(tmp_path, caches):
    for path in [tmp_path / "nowhere", "./nowhere", "../nowhere"]:
        assert_refused(run("info", model=path, env=caches, cwd=tmp_path), 3, path)


# --- What a newcomer types


def test_an_onnx_file_of_this_folder_needs_no_path(tiny, tmp_path):
    assert run("compile", "--output", tmp_path, model=tiny).code == 0
    shutil.copy(pathlib.Path(tiny) / "tokenizer.json", tmp_path)
    answer = run("embed", "some text", model="model.onnx", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.out == run("embed", "some text", model=tmp_path / "model.onnx").out


def test_brackets_are_shown_as_they_were_typed(tiny, tmp_path):
    answer = run("compile", "--output", tmp_path, "--bucket", "[8x128]", model=tiny)
    assert_refused(answer, 2, '"[8x128]";')
    assert_refused(run("embed", "x", "--format", "[x]", model=tiny), 2, 'not "[x]"')


def test_a_text_without_tokens_is_named_and_the_others_have_vectors(own_tiny):
    file = own_tiny / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    for pooling in ["cls", "last-token", "max", "mean"]:
        answer = run("embed", "one", "", "two", "--pooling", pooling, model=own_tiny)
        assert answer.code == 2
        assert ["error" in line for line in answer.lines()] == [False, True, False]
        assert "no tokens" in answer.err
