# In: nothing. Out: the model folders and the cache that the service tests share.
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import command_line  # noqa: E402
import fake_hub  # noqa: E402
import pulling  # noqa: E402
import serving  # noqa: E402
import tiny_folder  # noqa: E402


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A small model's folder; tests must not change it."""
    return tiny_folder.write_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def server(tiny):
    """`textvec serve` of the small model with the usual limits, for the tests of one file."""
    with serving.serving(model=tiny) as running:
        yield running
        assert running.end() == 0


@pytest.fixture(scope="module")
def expected(tiny):
    """The command line's vectors of serving.TEXTS, to which those of the server are held."""
    answer = command_line.run("embed", *serving.TEXTS, model=tiny)
    assert answer.code == 0, answer.err
    return answer.vectors()


@pytest.fixture
def own_tiny(tiny, tmp_path):
    """A small model's folder that a test may damage."""
    folder = pathlib.Path(shutil.copytree(tiny, tmp_path / "own-tiny"))
    yield folder
    shutil.rmtree(folder)  # pytest would keep hundreds of them


@pytest.fixture
def hub():
    with fake_hub.FakeHub() as served:
        yield served


@pytest.fixture
def place(tmp_path, hub):
    """Caches of a test's own, whose hub is the fake one."""
    yield pulling.Place(tmp_path, hub)
    shutil.rmtree(tmp_path)  # pytest would keep hundreds of megabytes


@pytest.fixture(scope="session", autouse=True)
def binary_is_there():
    binary = pathlib.Path(command_line.BINARY)
    assert binary.is_file(), f"{binary} is not built; see TEXTVEC_BINARY"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory, binary_is_there):
    """Compiled graphs go into a folder of this session, so that the user's cache stays as it is."""
    before = pytest.MonkeyPatch()
    cache = tmp_path_factory.mktemp("cache")
    before.setenv("TEXTVEC_CACHE", str(cache))
    before.delenv("TEXTVEC_MODEL", raising=False)
    for name in ["ENDPOINT", "TRACES_ENDPOINT"]:
        before.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    before.delenv("OTEL_SERVICE_NAME", raising=False)
    # Compiled here, because a first use says so on standard error.
    assert command_line.run("embed", "first").code == 0
    yield
    before.undo()
    shutil.rmtree(cache)
