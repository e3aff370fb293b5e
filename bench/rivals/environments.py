# In: a requirements file. Out: a virtual environment with those packages, from the registry.
"""Each rival lives in a virtual environment of its own, made once below the work folder."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LLAMA = "llama-cpp-python==0.3.36"
LLAMA_BUILD_SECONDS_MAX = 3 * 3600
INSTALL_SECONDS_MAX = 1800


class Unavailable(Exception):
    """A rival that cannot run here, and why."""


def checked(command, seconds, log, **more):
    """Runs it, its words in the file `log`; Unavailable with the last of them when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as words:
        try:
            done = subprocess.run(
                list(map(str, command)), stdout=words, stderr=words, timeout=seconds, **more
            )
        except OSError as error:
            raise Unavailable(f"{command[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{pathlib.Path(command[0]).name} took over {seconds} s") from None
    if done.returncode != 0:
        raise Unavailable(f"exit code {done.returncode}: {last_words(log)}")


def last_words(log, characters=300):
    lines = log.read_text(errors="replace").strip().splitlines()
    wanted = [line for line in lines if "rror" in line] or lines
    return wanted[-1].strip()[-characters:] if wanted else "it said nothing"


def environment(name, work, more=lambda python, log: None):
    """The Python of an environment with requirements/NAME.txt; `more` installs what is beside."""
    requirements = HERE / "requirements" / f"{name}.txt"
    folder = work / "environments" / name
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python, note = folder / "bin/python", folder / "complete"
    if note.is_file() and note.read_text() == key:
        return str(python)
    print(f"rivals: installing {name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    log = work / "environments" / f"{name}.log"
    checked([sys.executable, "-m", "venv", folder], 600, log)
    install = [python, "-m", "pip", "install", "--no-deps", "--only-binary=:all:"]
    checked([*install, "--requirement", requirements], INSTALL_SECONDS_MAX, log)
    more(python, log)
    note.write_text(key)
    return str(python)


def llama_source(work, python):
    """llama-cpp-python's source, which holds llama.cpp's, and its converter."""
    folder = work / "llama-cpp-source"
    if folder.exists():
        return folder
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    log = work / "environments" / "llama-source.log"
    get = [python, "-m", "pip", "download", "--no-deps", "--no-binary=:all:"]
    checked([*get, "--no-build-isolation", "--dest", unfinished, LLAMA], 1800, log)
    archive = next(unfinished.glob("*.tar.gz"))
    shutil.unpack_archive(archive, unfinished / "unpacked", filter="data")
    next((unfinished / "unpacked").iterdir()).rename(folder)
    shutil.rmtree(unfinished)
    return folder


def converter_environment(work):
    """For llama.cpp's converter: this program's Python, with what that lacks on its path."""
    python = pathlib.Path(environment("convert", work))
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    return os.environ | {"PYTHONPATH": str(packages)}


def llama(work):
    """Built here, so that it knows this processor (-march=native is its default)."""

    def build(python, log):
        source = llama_source(work, python)
        arguments = ["-DLLAVA_BUILD=OFF", "-DLLAMA_BUILD_TOOLS=OFF"]
        environ = os.environ | {"CMAKE_ARGS": " ".join(arguments)}
        install = [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", source]
        print("rivals: building llama.cpp (long)", file=sys.stderr)
        checked(install, LLAMA_BUILD_SECONDS_MAX, log, env=environ)

    return environment("llama", work, build)
