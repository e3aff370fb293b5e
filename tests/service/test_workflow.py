# In: the workflow for Macs, which nobody can run here, and scripts/measure, which it calls.
# Goal: every file, command, option and preset that they name exists.
import json
import os
import re
import subprocess

import pytest
import yaml
from command_line import BINARY, ROOT

WORKFLOW = ROOT / ".github/workflows/macos.yml"
JOB = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["apple-silicon"]
RUNS = [step["run"] for step in JOB["steps"] if "run" in step]
MEASURE = (ROOT / "scripts/measure").read_text(encoding="utf-8")
TEXTS = [*RUNS, MEASURE]


def commands(program):
    """What stands behind `program` in its commands, over all of TEXTS."""
    found = set()
    for text in TEXTS:
        for line in text.replace("\\\n", " ").splitlines():
            if not line.lstrip().startswith("#"):
                found |= set(re.findall(program + r" +([^\]|;>&][^|;>&]*)", line))
    return sorted(found)


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


TEXTVEC = commands(r'(?:build/release/textvec|"\$textvec")')
PYTHON = commands(r'"\$python"')


def test_every_step_is_known():
    assert set(JOB["strategy"]["matrix"]["os"]) <= {"macos-14", "macos-15", "macos-26"}
    assert JOB["runs-on"] == "${{ matrix.os }}"
    for step in JOB["steps"]:
        assert ("run" in step) != ("uses" in step), step
        action = step.get("uses", "actions/checkout@v5")
        assert re.fullmatch(r"actions/(checkout|upload-artifact)@v\d+", action), action
    kept = [step["with"]["path"] for step in JOB["steps"] if "with" in step]
    assert kept == ["build/measured"]
    assert f"scripts/measure {kept[0]}" in RUNS


@pytest.mark.parametrize("text", TEXTS)
def test_every_script_is_shell(text):
    command = ["bash", "-n", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_exists():
    named = set(re.findall(r"\b(?:scripts|tests)/[\w./-]*\w", "\n".join(TEXTS)))
    for wanted in ("setup", "measure", "make_reference.py", "test_coreml.py"):
        assert f"scripts/{wanted}" in named
    for name in named:
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"^scripts/\w+", "\n".join(RUNS), re.MULTILINE):
        assert os.access(ROOT / name, os.X_OK), name


@pytest.mark.parametrize(
    "program, kind", [("cmake", "configure"), ("cmake --build", "build"), ("ctest", "test")]
)
def test_every_preset_exists(program, kind):
    presets = json.loads((ROOT / "CMakePresets.json").read_text(encoding="utf-8"))
    names = {command.split()[0] for command in commands(program + " --preset")}
    assert names == {"release"}
    assert names <= {preset["name"] for preset in presets[kind + "Presets"]}


@pytest.mark.parametrize("command", TEXTVEC)
def test_every_textvec_command_has_its_options(command):
    given = [BINARY, command.split()[0], "--help"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert options(command) <= options(done.stdout)


@pytest.mark.parametrize("command", PYTHON)
def test_every_python_script_has_its_options(command):
    script = (ROOT / command.split()[0]).read_text(encoding="utf-8")
    known = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script))
    assert options(command) <= known


def test_nothing_is_left_out():
    assert {command.split()[0] for command in TEXTVEC} >= {"doctor", "verify", "bench", "embed"}
    assert "for provider in cpu coreml webgpu;" in MEASURE
    scripts = ["scripts/make_reference.py", "scripts/test_coreml.py"]
    assert sorted(command.split()[0] for command in PYTHON) == scripts
