# A real plugin provider that misbehaves (tests/providers/fake_provider.cpp), and OpenVINO's own: the
# trial, the verdict that stays, the fallback, and what is said of it.
import json
import os
import pathlib
import re
import shutil
import stat

import numpy
import pytest

import serving
import tiny_qwen3
from command_line import BINARY, MINILM, assert_refused, finish, lines_of, run, running, start

PLUGINS = pathlib.Path(BINARY).parent / "providers"
NAME = "libonnxruntime_providers_openvino_plugin.so"
FAKE = PLUGINS / "fake_provider" / NAME
SHIM = PLUGINS / "openvino_shim" / NAME
OPENVINO = pathlib.Path(
    os.environ.get("TEXTVEC_TEST_PROVIDERS", pathlib.Path.home() / ".cache/textvec/test-providers")
) / "openvino" / NAME
TEXTS = ["a cat sat on the mat", "the feline rested", "one"]


@pytest.fixture
def cache(tmp_path):
    """A cache of the test's own, so that no verdict is known."""
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def right(tiny):
    return run("embed", *TEXTS, "--provider", "cpu", model=tiny).vectors()


class Fake:
    """The command line with the fake provider in OpenVINO's place."""

    def __init__(self, model, cache):
        self.model, self.cache, self.log = model, cache, cache.parent / "sessions"

    def options(self, mode):
        env = {
            "TEXTVEC_CACHE": str(self.cache),
            "TEXTVEC_FAKE_PROVIDER": mode,
            "TEXTVEC_FAKE_PROVIDER_LOG": str(self.log),
        }
        return {"model": self.model, "env": env}

    def run(self, mode, command, *arguments, provider="openvino"):
        return run(command, *arguments, "--provider", provider, "--provider-library", FAKE,
                   **self.options(mode))

    def info(self, mode, *arguments):
        answer = self.run(mode, "info", "--json", *arguments)
        assert answer.code == 0, answer.err
        (about,) = answer.lines()
        return about

    def sessions(self):
        """How many sessions the provider made or refused, and in how many processes."""
        lines = self.log.read_text().split() if self.log.exists() else []
        return len(lines), len(set(lines))

    def verdicts(self):
        return sorted((self.cache / "verdicts").glob("*.json"))


@pytest.fixture
def fake(tiny, cache):
    return Fake(tiny, cache)


def assert_cpu(answer, right, *words):
    """Right vectors, and one line that says why the processor made them."""
    assert answer.code == 0, answer.err
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-6)
    (line,) = [line for line in answer.err.splitlines() if "cpu is used" in line]
    for word in words:
        assert word in line
    assert len(line) < 600


def test_a_provider_that_is_right_is_used(fake, right):
    about = fake.info("good", "--require-provider")
    assert about["provider"]["used"] == "openvino"
    (device,) = [part for part in about["placement"] if part["provider"].startswith("OpenVINO")]
    assert device["nodes"] >= 6 and device["partitions"] >= 1  # the layer's linear ones
    assert about["trial"]["provider_ms"] > 0 and about["trial"]["cpu_ms"] > 0
    answer = fake.run("good", "embed", *TEXTS, "--require-provider")
    assert answer.code == 0
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)
    # The first start made a trial and a session, the second one a session alone.
    assert fake.sessions() == (3, 3)
    (verdict,) = fake.verdicts()
    kept = json.loads(verdict.read_text())
    assert kept["verdict"]["right"] is True and kept["verdict"]["cosine"] >= 0.999
    assert "ONNX Runtime" in kept["subject"] and "openvino" in kept["subject"]


def test_what_was_tuned_is_not_a_devices(fake):
    tuned = run("tune", "--seconds", "0.05", **fake.options("good"))
    assert tuned.code == 0, tuned.err
    (file,) = (fake.cache / "tuning").iterdir()
    kept = json.loads(file.read_text()) | {"threads": 5, "workers": 3, "batch_tokens_max": 77}
    file.write_text(json.dumps(kept))
    usual = [fake.info("good", "--require-provider")]
    # The trial is the same one, whatever is tuned.
    (verdict,) = fake.verdicts()
    file.rename(fake.cache / "untuned")
    usual.append(fake.info("good", "--require-provider"))
    assert fake.verdicts() == [verdict]
    for about in usual:
        assert about["provider"]["used"] == "openvino"
        assert (about["workers"], about["batch_tokens_max"], about["tuned"]) == (1, 1024, "")
    assert usual[0]["threads"] == usual[1]["threads"]
    about = fake.info("good", "--require-provider", "--workers", "3")
    assert about["workers"] == 1


def test_where_the_processor_is_used_instead_what_was_tuned_counts(fake, right):
    tuned = run("tune", "--seconds", "0.05", **fake.options("good"))
    assert tuned.code == 0, tuned.err
    (file,) = (fake.cache / "tuning").iterdir()
    kept = json.loads(file.read_text()) | {"threads": 5, "workers": 3, "batch_tokens_max": 77}
    file.write_text(json.dumps(kept))
    about = fake.info("wrong")
    assert about["provider"]["used"] == "cpu"
    assert (about["threads"], about["workers"], about["batch_tokens_max"]) == (5, 3, 77)
    assert_cpu(fake.run("wrong", "embed", *TEXTS), right, "openvino")


def test_a_fault_of_the_tokenizer_is_not_the_providers(cache, own_tiny):
    fake = Fake(own_tiny, cache)
    (own_tiny / "tokenizer.json").write_text("{")
    assert_refused(fake.run("good", "embed", *TEXTS), 3, "tokenizer.json")
    # No trial, whose failure would stay.
    assert (fake.sessions(), fake.verdicts()) == ((0, 0), [])


FAULTS = {
    "version": "9999",
    "create": "makes no session",
    "run": "cannot run",
    "nan": "NaN",
    "zeros": "zeros",
    "wrong": "cosine",
    "abort": "SIGABRT",
    "nothing": "takes no node",
}


@pytest.mark.parametrize("mode", FAULTS)
def test_a_provider_that_fails_its_trial_is_not_used(fake, right, mode):
    assert_cpu(fake.run(mode, "embed", *TEXTS), right, "openvino", FAULTS[mode])
    # The verdict stays, whatever the provider would do now.
    assert_cpu(fake.run("good", "embed", *TEXTS), right, "openvino", FAULTS[mode])
    about = fake.info("good")
    assert about["provider"]["used"] == "cpu" and FAULTS[mode] in about["provider"]["why"]
    refused = fake.run("good", "embed", *TEXTS, "--require-provider")
    assert_refused(refused, 4, "openvino", FAULTS[mode])
    assert len(refused.err.splitlines()) == 1
    # Only the trial's process ever made a session there; with another version not even that.
    assert fake.sessions()[1] == (0 if mode == "version" else 1)


def test_a_trial_that_hangs_is_ended(fake, right):
    answer = fake.run("hang", "embed", *TEXTS, "--trial-seconds", "5")
    assert_cpu(answer, right, "openvino", "5 s")
    for child in set(fake.log.read_text().split()) if fake.log.exists() else []:
        assert not pathlib.Path("/proc", child).exists()


def test_a_slower_provider_is_used_only_when_it_is_required(fake, right):
    assert_cpu(fake.run("slow", "embed", *TEXTS), right, "openvino", "slower")
    answer = fake.run("slow", "embed", *TEXTS, "--require-provider")
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)
    about = fake.info("slow", "--require-provider")
    assert about["provider"]["used"] == "openvino" and "slower" in about["provider"]["why"]
    assert about["trial"]["provider_ms"] > about["trial"]["cpu_ms"]


def test_what_a_trial_prints_is_bounded_and_misleads_nobody(fake, right):
    answer = fake.run("noise", "embed", *TEXTS, "--require-provider")
    assert answer.code == 0, answer.err
    kept = json.loads(fake.verdicts()[0].read_text())["verdict"]
    assert kept["right"] is True and kept["cosine"] >= 0.999 and kept["cpu_ms"] > 0


def test_a_device_that_is_lost_while_serving_is_replaced_once(fake, right):
    fake.info("good", "--require-provider")
    # Some batches of three texts; the device makes a few products and no more.
    texts = TEXTS * 20
    answer = fake.run("lost:10", "embed", *texts, "--require-provider", "--batch-tokens", "16")
    assert answer.code == 0, answer.err
    numpy.testing.assert_allclose(answer.vectors(), numpy.tile(right, (20, 1)), atol=1e-5)
    (line,) = answer.err.splitlines()
    assert "openvino" in line and "is lost" in line and "cpu is used since" in line
    # Lost in the first batch of all: found out before anything is served, and shown.
    bench = fake.run("lost:10", "bench", "--json", "--shape", "1x8", "--repeat", "3",
                     "--require-provider")
    assert json.loads(bench.out)["provider"] == "cpu"


def test_a_server_shows_that_it_lost_its_device(fake, right):
    fake.info("good", "--require-provider")
    options = ["--provider", "openvino", "--provider-library", FAKE, "--require-provider"]
    with serving.serving(*options, **fake.options("lost:60")) as server:
        assert server.get("/info").json()["provider"] == "openvino"
        assert server.metric('textvec_provider_fallback{model="tiny"}') == 0
        for _ in range(20):
            numpy.testing.assert_allclose(server.vectors(TEXTS), right, atol=1e-5)
        about = server.get("/info").json()
        assert (about["provider"], about["provider_wanted"]) == ("cpu", "openvino")
        assert "is lost" in about["provider_note"]
        assert server.metric('textvec_provider_fallback{model="tiny"}') == 1
        assert server.metric('textvec_provider{model="tiny",provider="cpu",wanted="openvino"}') == 1
        assert server.end() == 0
    assert sum("is lost" in line for line in server.log) == 1


def test_an_option_that_the_provider_refuses(fake, right):
    answer = fake.run("good", "embed", *TEXTS, "--provider-option", "cache_dir=/tmp")
    assert_cpu(answer, right, "openvino", "cache_dir")


@pytest.mark.parametrize("provider, option, words", [
    ("openvino", "num_streams=0", ["num_streams", '"0"', "1 to 64"]),
    ("openvino", "num_streams=65", ['"65"', "1 to 64"]),
    ("openvino", "num_stream=1", ["num_stream", "num_streams", "cache_dir"]),
    ("openvino", "cache_dir=relative", ['"relative"', "absolute path"]),
    ("openvino", "cache_dir=", ['""', "absolute path"]),
    ("coreml", "MLComputeUnits=Gpu", ["MLComputeUnits", '"Gpu"', "CPUAndGPU"]),
    ("coreml", "RequireStaticInputShapes=2", ['"2"', "0|1"]),
    ("cuda", "device_id=-1", ['"-1"', "0 to 255"]),
    ("cuda", "gpu_mem_limit=1048575", ["1048576"]),
    ("tensorrt", "trt_engine_cache_path=engines", ["absolute path"]),
    ("mlx", "anything=1", ["anything", "none"]),
    ("cpu", "device_id=0", ["cpu", "none"]),
    ("auto", "device_id=0", ["auto", "none"]),
    ("openvino", "num_streams", ["KEY=VALUE", '"num_streams"']),
    ("openvino", "=1", ["KEY=VALUE"]),
])
def test_an_option_that_the_table_refuses(tiny, provider, option, words):
    answer = run("embed", "x", "--provider", provider, "--provider-option", option, model=tiny)
    assert_refused(answer, 2, *words)


@pytest.mark.parametrize("seconds", ["0", "3601", "-1", "x"])
def test_the_limit_of_a_trial_is_checked(tiny, seconds):
    answer = run("embed", "x", "--trial-seconds", seconds, model=tiny)
    assert_refused(answer, 2, "1 to 3600", seconds)


def test_a_library_that_is_not_there(fake, right, tmp_path):
    answer = run("embed", *TEXTS, "--provider", "openvino", **fake.options("good"))
    assert_cpu(answer, right, "openvino", "TEXTVEC_PROVIDER_LIBRARIES")
    nowhere = ["--provider", "openvino", "--provider-library", tmp_path / "nowhere"]
    assert_cpu(run("embed", *TEXTS, *nowhere, **fake.options("good")), right, "nowhere")
    assert_refused(run("embed", "x", *nowhere, "--require-provider", **fake.options("good")), 4,
                   "openvino", "nowhere")
    nameless = ["--provider-library", FAKE]
    assert_refused(run("embed", "x", *nameless, **fake.options("good")), 2, "name the provider")


def test_a_library_that_others_could_change_is_not_loaded(fake, right, tmp_path):
    def copied(folder):
        place = tmp_path / folder
        place.mkdir()
        return pathlib.Path(shutil.copy(FAKE, place))

    def embed(library):
        return run("embed", *TEXTS, "--provider", "openvino", "--provider-library", library,
                   **fake.options("good"))

    file = copied("file")
    file.chmod(file.stat().st_mode | stat.S_IWOTH)
    assert_cpu(embed(file), right, "everybody may write")
    folder = copied("folder").parent
    folder.chmod(0o777)
    assert_cpu(embed(folder), right, "everybody may write")
    link = tmp_path / NAME
    link.symlink_to(file)
    assert_cpu(embed(link), right, "everybody may write")
    assert_cpu(embed(os.path.relpath(FAKE)), right, "absolute")
    (tmp_path / "text").mkdir()
    text = tmp_path / "text" / NAME
    text.write_text("no library")
    assert_cpu(embed(text), right, "openvino")
    assert fake.sessions() == (0, 0)


def test_a_verdict_is_of_these_options_and_this_library(fake, right):
    assert_cpu(fake.run("nan", "embed", *TEXTS), right, "NaN")
    about = fake.info("good", "--require-provider", "--provider-option", "num_streams=1")
    assert about["provider"]["used"] == "openvino"
    assert len(fake.verdicts()) == 2


@pytest.mark.parametrize("damage", ["", "{", '{"subject":"another","verdict":{}}', "right"])
def test_a_damaged_or_stale_verdict_is_made_anew(fake, right, damage):
    assert_cpu(fake.run("nan", "embed", *TEXTS), right, "NaN")
    (file,) = fake.verdicts()
    if damage == "right":  # of another machine: everything but the subject is in order
        damage = file.read_text().replace("ONNX Runtime", "ONNX Runtime of old").replace(
            '"right":false', '"right":true')
    file.write_text(damage)
    assert_cpu(fake.run("abort", "embed", *TEXTS), right, "SIGABRT")
    assert_cpu(fake.run("good", "embed", *TEXTS), right, "SIGABRT")


def test_a_cache_that_cannot_be_written_means_a_trial_at_every_start(fake, right):
    fake.cache.parent.mkdir(exist_ok=True)
    fake.cache.write_text("in the way")
    for mode, word in [("nan", "NaN"), ("abort", "SIGABRT")]:
        assert_cpu(fake.run(mode, "embed", *TEXTS), right, word)
    answer = fake.run("good", "embed", *TEXTS, "--require-provider")
    assert answer.code == 0
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)


def test_verdicts_that_cannot_be_written_are_said(fake, right):
    fake.cache.mkdir(parents=True)
    (fake.cache / "verdicts").write_text("in the way")
    answer = fake.run("nan", "embed", *TEXTS)
    assert_cpu(answer, right, "NaN")
    assert "tried at every start" in answer.err


def test_two_processes_at_the_same_time_make_one_trial(fake, right):
    arguments = ["embed", *TEXTS, "--provider", "openvino", "--provider-library", FAKE,
                 "--require-provider"]
    processes = [start(*arguments, **fake.options("good")) for _ in range(3)]
    for process in processes:
        answer = finish(process)
        assert answer.code == 0, answer.err
        numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)
    assert fake.sessions() == (4, 4)  # one trial, three that serve
    assert len(fake.verdicts()) == 1


def test_auto_takes_what_the_environment_names_and_says_once_that_it_fails(fake, right):
    options = fake.options("nan")
    options["env"]["TEXTVEC_PROVIDER_LIBRARIES"] = f"/nowhere:{FAKE.parent}"
    assert_cpu(run("embed", *TEXTS, **options), right, "openvino", "NaN")
    again = run("embed", *TEXTS, **options)
    assert (again.code, again.err) == (0, "")
    about = json.loads(run("info", "--json", **options).out)
    assert about["provider"]["used"] == "cpu" and "NaN" in about["provider"]["why"]


def test_doctor_says_what_each_provider_is_worth(fake):
    options = fake.options("good")
    options["env"]["TEXTVEC_PROVIDER_LIBRARIES"] = str(FAKE)
    report = json.loads(run("doctor", "--json", "--require-provider", **options).out)
    entries = {entry["provider"]: entry for entry in report["providers"]}
    assert set(entries) == {"cpu", "coreml", "webgpu", "cuda", "openvino", "tensorrt", "mlx"}
    openvino = entries["openvino"]
    assert openvino["present"] and openvino["tried"]
    assert openvino["where"] == str(FAKE)
    assert openvino["usable"] or "slower" in openvino["why"]
    assert openvino["provider_ms"] > 0 and openvino["cpu_ms"] > 0
    assert sum(part["nodes"] for part in openvino["placement"]) > 0
    for name in set(entries) - {"cpu", "openvino"}:
        assert not entries[name]["present"] and entries[name]["why"]
    shutil.rmtree(fake.cache / "verdicts")
    options["env"]["TEXTVEC_FAKE_PROVIDER"] = "abort"
    table = run("doctor", **options).out.decode()
    (row,) = re.findall("^provider openvino .*$", table, re.MULTILINE)
    assert "no: " in row and "SIGABRT" in row and "tried" in row


def test_mlx_gets_static_graphs(fake, tiny, right):
    link = fake.cache.parent / "libonnxruntime_mlx_ep.so"
    link.symlink_to(FAKE)
    arguments = ["--provider", "mlx", "--provider-library", link, "--require-provider"]
    about = json.loads(run("info", "--json", *arguments, **fake.options("good")).out)
    assert about["provider"]["used"] == "mlx" and about["path"] == "static"
    assert about["buckets"]
    answer = run("embed", *TEXTS, *arguments, **fake.options("good"))
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)
    chosen = run("info", "--json", *arguments, "--buckets", "1x16", **fake.options("good"))
    assert [bucket["tokens"] for bucket in json.loads(chosen.out)["buckets"]] == [16]
    # In 16 bits there, in 32 on the processor that takes over.
    half = ["--provider", "mlx", "--provider-library", link, "--precision", "f16"]
    answer = run("embed", *TEXTS, *half, **fake.options("nan"))
    assert_cpu(answer, right, "mlx")


def test_what_a_provider_does_not_compute_runs_on_the_processor(fake, tiny, right):
    answer = fake.run("good", "embed", *TEXTS, "--precision", "int8")
    assert answer.code == 0 and "int8" in answer.err and "cpu is used" in answer.err
    assert fake.sessions() == (0, 0)
    assert_refused(fake.run("good", "embed", "x", "--precision", "int8", "--require-provider"), 4,
                   "int8")


def test_a_decoder_runs_on_a_provider_too(cache, tmp_path):
    folder = tiny_qwen3.write_tiny_qwen3(tmp_path / "qwen3")
    fake = Fake(folder, cache)
    right = run("embed", *TEXTS, "--provider", "cpu", **fake.options("good")).vectors()
    about = fake.info("good", "--require-provider")
    assert about["provider"]["used"] == "openvino"
    answer = fake.run("good", "embed", *TEXTS, "--require-provider")
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-5)


def test_the_child_is_no_command_for_people():
    assert b"try-provider" not in run("--help", model=None).out


# --- OpenVINO's own plugin


needs_openvino = pytest.mark.skipif(
    not OPENVINO.is_file(), reason="scripts/setup --tests takes OpenVINO on Linux x86-64 only")


def is_intel():
    return "GenuineIntel" in pathlib.Path("/proc/cpuinfo").read_text()


@needs_openvino
def test_openvino_is_found_tried_and_right_or_refused_with_its_reason(cache):
    options = {"env": {"TEXTVEC_CACHE": str(cache)}}
    library = ["--provider", "openvino", "--provider-library", OPENVINO.parent]
    right = run("embed", *TEXTS, "--provider", "cpu", **options).vectors()
    answer = run("embed", *TEXTS, *library, **options)
    assert answer.code == 0
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-4)
    if not is_intel():
        assert_cpu(answer, right, "openvino", "no device of its kind")


@needs_openvino
def test_openvino_computes_minilm(cache):
    options = {"env": {"TEXTVEC_CACHE": str(cache), "TEXTVEC_SHIM_LIBRARY": str(OPENVINO)}}
    library = ["--provider", "openvino", "--provider-library", SHIM, "--require-provider"]
    about = json.loads(run("info", "--json", *library, **options).out)
    assert about["provider"]["used"] == "openvino"
    nodes = {part["provider"]: part["nodes"] for part in about["placement"]}
    assert nodes["OpenVINOExecutionProvider"] > 0
    right = run("embed", *TEXTS, "--provider", "cpu", **options).vectors()
    answer = run("embed", *TEXTS, *library, **options)
    assert answer.code == 0, answer.err
    numpy.testing.assert_allclose(answer.vectors(), right, atol=1e-4)
    hidden = dict(options["env"], TEXTVEC_SHIM_LIBRARY="/nowhere")
    assert run("embed", *TEXTS, *library, env=hidden).code in (0, 4)
