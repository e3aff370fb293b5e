# In: cache folders that are empty, read-only, full, damaged or shared; models that change.
# Goal: every run gives the same vectors, says why it compiles, and leaves no half-written graph.
import contextlib
import os
import shutil
import subprocess

import numpy
import pytest
from command_line import finish, limit_file_size, run, start
from tiny_folder import tensors, write_safetensors

GRAPH_FILES = ["manifest.json", "model.onnx", "model.onnx.data"]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def filled_cache(cache, graph_of_tiny):
    """A cache that a test may damage."""
    return shutil.copytree(graph_of_tiny, cache)


@pytest.fixture(scope="module")
def graph_of_tiny(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    assert embed(tiny, folder).code == 0
    return folder


@pytest.fixture(scope="module")
def expected(tiny):
    answer = run("embed", "some text", model=tiny)
    assert answer.code == 0
    return answer.vectors()


def embed(model, cache, **options):
    return run("embed", "some text", model=model, env={"TEXTVEC_CACHE": str(cache)}, **options)


def assert_same_vectors(answer, expected):
    assert answer.code == 0, answer.err
    numpy.testing.assert_allclose(answer.vectors(), expected, atol=1e-6)


def assert_compiled(answer, expected):
    assert_same_vectors(answer, expected)
    assert answer.err == "textvec: compiling tiny for target fused, f32\n"


def assert_reused(answer, expected):
    assert_same_vectors(answer, expected)
    assert answer.err == ""


def entries(cache):
    """The folders of whole graphs; fails when anything else lies beside them."""
    graphs = cache / "graphs"
    found = list(graphs.iterdir()) if graphs.exists() else []
    for entry in found:
        assert sorted(file.name for file in entry.iterdir()) == GRAPH_FILES
    return found


def only_entry(cache):
    (entry,) = entries(cache)
    return entry


def test_the_second_run_uses_the_graph_of_the_first(tiny, cache, expected):
    assert_compiled(embed(tiny, cache), expected)
    graph = only_entry(cache)
    assert_reused(embed(tiny, cache), expected)
    assert only_entry(cache) == graph


def test_an_empty_variable_is_no_cache(tiny, tmp_path, expected):
    env = {"TEXTVEC_CACHE": "", "XDG_CACHE_HOME": str(tmp_path)}
    assert_compiled(run("embed", "some text", model=tiny, env=env), expected)
    only_entry(tmp_path / "textvec")


def test_a_changed_model_gets_another_graph(own_tiny, cache, expected):
    assert_same_vectors(embed(own_tiny, cache), expected)
    named = tensors(30522)
    # The same names, shapes and file size.
    named["embeddings.word_embeddings.weight"] *= -1
    write_safetensors(own_tiny / "model.safetensors", named)
    changed = embed(own_tiny, cache)
    assert "compiling" in changed.err
    assert numpy.abs(changed.vectors() - expected).max() > 1e-3
    assert len(entries(cache)) == 2


def test_an_equal_model_elsewhere_shares_the_graph(tiny, own_tiny, cache, expected):
    assert_compiled(embed(tiny, cache), expected)
    assert_reused(embed(own_tiny, cache), expected)
    only_entry(cache)


# --- Caches that cannot be written


def no_folder(tmp_path, kind):
    file = tmp_path / "file"
    file.write_text("in the way")
    # Permissions would not stop root, who may be running the tests.
    return {"a file": file, "below a file": file / "cache", "read-only": "/proc/textvec"}[kind]


@pytest.mark.parametrize("kind", ["a file", "below a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_said_and_done_without(tiny, tmp_path, expected, kind):
    cache = no_folder(tmp_path, kind)
    answer = embed(tiny, cache)
    assert_same_vectors(answer, expected)
    assert f"cannot write {cache}" in answer.err
    assert "the graph is built in memory" in answer.err


def test_no_cache_at_all_is_done_without(tiny, expected):
    nowhere = dict.fromkeys(["TEXTVEC_CACHE", "XDG_CACHE_HOME", "HOME"])
    answer = run("embed", "some text", model=tiny, env=nowhere)
    assert_same_vectors(answer, expected)
    assert "the graph is built in memory" in answer.err


@pytest.mark.parametrize("size", [16, 1000, 100_000, 1_000_000])
def test_a_limit_on_files_leaves_no_half_written_graph(tiny, cache, expected, size):
    # Stops at each of the files that are written: stamp, data, graph.
    answer = embed(tiny, cache, preexec_fn=limit_file_size(size))
    assert_same_vectors(answer, expected)
    assert "the graph is built in memory" in answer.err
    assert entries(cache) == []
    assert not [path for path in cache.rglob("*") if ".tmp-" in path.name]
    assert_compiled(embed(tiny, cache), expected)  # when there is room again
    only_entry(cache)


@contextlib.contextmanager
def full_disk(folder):
    """Options for start(), under which `folder` takes at most a mebibyte."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "textvec-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield {"preexec_fn": limit_file_size(1 << 20)}  # who may not mount gets the next best
        return
    try:
        yield {}
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_done_without(tiny, cache, expected):
    with full_disk(cache) as options:
        for _ in range(2):
            answer = embed(tiny, cache, **options)
            assert_same_vectors(answer, expected)
            assert "the graph is built in memory" in answer.err
            assert entries(cache) == []


# --- Caches that are damaged


def flip_byte(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def halve(file):
    os.truncate(file, file.stat().st_size // 2)


def lengthen(file):
    with open(file, "ab") as stream:
        stream.write(b"x")


def remove(file):
    file.unlink()


@pytest.mark.parametrize("damage", [flip_byte, halve, lengthen, remove])
@pytest.mark.parametrize("name", GRAPH_FILES)
def test_a_damaged_graph_is_made_anew(tiny, filled_cache, expected, name, damage):
    entry = only_entry(filled_cache)
    whole = {file: (entry / file).read_bytes() for file in GRAPH_FILES}
    damage(entry / name)
    assert_compiled(embed(tiny, filled_cache), expected)
    assert only_entry(filled_cache) == entry
    assert {file: (entry / file).read_bytes() for file in GRAPH_FILES} == whole


def test_what_is_no_graph_is_replaced(tiny, filled_cache, expected):
    entry = only_entry(filled_cache)
    shutil.rmtree(entry)
    entry.write_text("a file in the place of the folder")
    assert_compiled(embed(tiny, filled_cache), expected)
    assert_reused(embed(tiny, filled_cache), expected)


def test_damaged_records_of_hashes_are_made_anew(tiny, filled_cache, expected):
    records = list((filled_cache / "stamps").iterdir())
    assert records
    for record in records:
        record.write_bytes(b"\xff" * 200)
    assert_reused(embed(tiny, filled_cache), expected)


# --- Caches that are shared


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_begin_together_all_succeed(tiny, cache, expected, damaged):
    if damaged:
        assert_compiled(embed(tiny, cache), expected)
        flip_byte(only_entry(cache) / "model.onnx.data")
    env = {"TEXTVEC_CACHE": str(cache)}
    processes = [start("embed", "some text", model=tiny, env=env) for _ in range(4)]
    for process in processes:
        assert_same_vectors(finish(process), expected)
    only_entry(cache)
    assert_reused(embed(tiny, cache), expected)
