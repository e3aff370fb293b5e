# In: several models, and requests that choose one. Out: whether `textvec serve` gives each its own
# vectors.
import json
import shutil

import numpy
import pytest

import command_line
import serving
import tiny_folder
from serving import floats

TEXTS = ["hello", "a cat sat on the mat", "Gr\u00fc\u00dfe \U0001f9ed"]


def write_other(folder, dimension_sign=-1):
    """The tiny model with other vectors, its weights being those of the tiny one by a number."""
    folder = tiny_folder.write_tiny_folder(folder)
    named = tiny_folder.tensors(len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]))
    named["embeddings.word_embeddings.weight"] *= dimension_sign
    tiny_folder.write_safetensors(folder / "model.safetensors", named)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = write_other(tmp_path_factory.mktemp("models") / "other")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def expected(tiny, other):
    answers = [command_line.run("embed", *TEXTS, model=model).vectors() for model in [tiny, other]]
    assert abs(answers[0] - answers[1]).max() > 0.01
    return answers


@pytest.fixture(scope="module")
def server(tiny, other):
    with serving.serving("--model", f"owner/second={other}", "--model", other, "--alias", "first",
                         model=tiny) as server:
        yield server
        assert server.end() == 0


def same(left, right):
    numpy.testing.assert_allclose(left, right, atol=1e-6)


def test_requests_choose_their_model(server, expected):
    for name, place, shown in [("tiny", 0, "tiny"), ("first", 0, "tiny"), (None, 0, "tiny"),
                               ("owner/second", 1, "owner/second"), ("other", 1, "other")]:
        answer = server.post("/v1/embeddings", {"input": TEXTS, "model": name}).json()
        same([item["embedding"] for item in answer["data"]], expected[place])
        assert answer["model"] == shown
        coded = server.post("/v1/embeddings",
                            {"input": TEXTS, "model": name, "encoding_format": "base64"}).json()
        same([floats(item["embedding"]) for item in coded["data"]], expected[place])
        answer = server.post("/api/embed", {"input": TEXTS, "model": name}).json()
        same(answer["embeddings"], expected[place])
        assert answer["model"] == shown
    same(server.post("/api/embed", {"input": TEXTS, "model": "owner/second:latest"}).json()[
        "embeddings"], expected[1])
    # TEI's routes know no names.
    same(server.vectors(TEXTS), expected[0])
    assert server.get("/info").json()["model_id"] == "tiny"
    reply = server.post("/v1/embeddings", {"input": "a", "model": "third"})
    assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert "tiny, owner/second, other are" in reply.json()["error"]["message"]


def test_models_are_listed_and_shown(server):
    listed = server.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["tiny", "owner/second", "other"]
    for path, name in [("tiny", "tiny"), ("owner/second", "owner/second"),
                       ("owner%2Fsecond", "owner/second"), ("first", "tiny")]:
        reply = server.get("/v1/models/" + path)
        assert reply.status == 200 and reply.json()["id"] == name
        assert reply.json() in listed["data"]
    for path in ["none", "owner%2Fseconds", "%FF", "%"]:
        reply = server.get("/v1/models/" + path)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found"), path
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert server.get("/v1/models/").status == 404
    assert server.post("/v1/models/tiny", {}).status == 405
    server.post("/v1/embeddings", {"input": ["a", "b"], "model": "other"})
    assert server.metric('textvec_texts_total{model="other"}') >= 2
    assert server.metric('textvec_provider_fallback{model="owner/second"}') == 0


def test_openais_client_asks_for_one_model(server):
    import openai

    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        assert client.models.retrieve("owner/second").id == "owner/second"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("third")
        assert caught.value.code == "model_not_found"


def test_admission_counts_all_models_together(tiny):
    long = {"input": ["word " * 200] * 32, "model": "big"}
    with serving.serving("--queue-texts", "32", "--request-texts", "32", "--timeout", "600",
                         "--model", f"big={command_line.MINILM}", model=tiny) as server:
        with server.connect() as first:
            first.send(serving.request("POST", "/v1/embeddings", long))
            server.wait_for_metric("te_queue_size", lambda value: value == 32)
            assert server.post("/embed", {"inputs": "a"}).status == 429
            assert len(first.read_reply().json()["data"]) == 32
        assert server.post("/embed", {"inputs": "a"}).status == 200
        assert server.end() == 0


def test_what_cannot_be_served(tiny, other, tmp_path):
    def refused(code, *words, arguments):
        answer = command_line.run("serve", "--port", "0", *arguments, model=None)
        command_line.assert_refused(answer, code, *words)

    refused(2, "two models are called tiny",
            arguments=["--model", tiny, "--model", f"tiny={other}"])
    refused(2, "17 models; a server takes 1 to 16",
            arguments=[word for i in range(17) for word in ("--model", f"m{i}={tiny}")])
    refused(2, "no empty name", arguments=["--model", ""])
    refused(2, "no empty name", arguments=["--model", f"={tiny}"])
    refused(2, "no empty name", arguments=["--model", "name="])
    refused(2, "--name is of the only model",
            arguments=["--model", tiny, "--model", other, "--name", "a"])
    refused(2, "--name is of the only model", arguments=["--model", f"b={tiny}", "--name", "a"])
    refused(3, "no-such", arguments=["--model", tiny, "--model", tmp_path / "no-such"])
    # What is a path is no name, whatever sign is in it.
    odd = tmp_path / "a=b"
    odd.symlink_to(tiny)
    with serving.serving(model=odd) as server:
        assert server.get("/info").json()["model_id"] == "a=b"
        assert server.end() == 0
