# In: a fake hub and a folder. Out: textvec's pull and its neighbours run there; small repositories.
import hashlib
import json
import pathlib
import random

from command_line import run, start

NAME = "owner/model"


def folder_files(folder):
    """A model's folder as a repository's files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


def weights(size, seed=5):
    chance, step = random.Random(seed), 1 << 24  # more at once than 256 MiB it does not give
    return b"".join(chance.randbytes(min(step, size - begin)) for begin in range(0, size, step))


def repository(size, seed=5):
    """What a pull takes for a model; nothing loads it."""
    return {
        "config.json": b'{"model_type": "bert"}',
        "tokenizer.json": b"{}",
        "model.safetensors": weights(size, seed),
    }


class Place:
    """Caches of a test's own, and the environment that leads there."""

    def __init__(self, folder, hub=None, **more):
        self.folder = pathlib.Path(folder)
        self.hub_cache = self.folder / "hf" / "hub"
        self.env = {
            "HF_HOME": str(self.folder / "hf"),
            "TEXTVEC_CACHE": str(self.folder / "textvec"),
            "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
            **dict.fromkeys(
                ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH",
                 "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "https_proxy",
                 "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            ),
            **more,
        }

    def run(self, *arguments, env=None, **options):
        return run(*arguments, model=None, env={**self.env, **(env or {})}, **options)

    def start(self, *arguments, env=None, **options):
        return start(*arguments, model=None, env={**self.env, **(env or {})}, **options)

    def pull(self, *arguments, **options):
        return self.run("pull", *(arguments or (NAME,)), **options)

    def plan(self, *arguments):
        answer = self.pull(*(arguments or (NAME,)), "--dry-run", "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    def repository(self, name=NAME):
        return self.hub_cache / ("models--" + name.replace("/", "--"))

    def snapshot(self, commit, name=NAME):
        return self.repository(name) / "snapshots" / commit

    def blobs(self, name=NAME):
        return sorted((self.repository(name) / "blobs").iterdir())

    def snapshot_files(self, commit, name=NAME):
        return folder_files(self.snapshot(commit, name))


def assert_whole(place, commit, files, name=NAME):
    """The snapshot holds exactly `files`, each a link to the blob that its hash names."""
    assert place.snapshot_files(commit, name) == files
    for path in files:
        link = place.snapshot(commit, name) / path
        assert link.is_symlink()
        blob = link.resolve()
        assert blob.parent == place.repository(name).resolve() / "blobs"
        data = blob.read_bytes()
        if len(blob.name) == 64:
            assert hashlib.sha256(data).hexdigest() == blob.name
        else:
            assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == blob.name
    assert all(len(blob.name) in (40, 64) for blob in place.blobs(name)), "nothing unfinished"
