# In: the libraries that people already use against OpenAI, text-embeddings-inference and Ollama. Out:
# whether they get the command line's vectors from `textvec serve` when only the address is changed.
import base64
import json
import subprocess

import numpy
import pytest

import command_line
from serving import TEXTS, same


def test_the_hubs_client(server, expected):
    import huggingface_hub

    client = huggingface_hub.InferenceClient(base_url=server.url)
    same(client.feature_extraction(TEXTS[0]).reshape(-1), expected[0])


def test_openais_client(server, expected):
    import openai

    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        for encoding in ["float", openai.NOT_GIVEN]:  # without a word it asks for base64
            answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format=encoding)
            same([item.embedding for item in answer.data], expected)
        answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="base64")
        same([numpy.frombuffer(base64.b64decode(item.embedding), "<f4") for item in answer.data],
             expected)
        assert answer.usage.total_tokens > len(TEXTS)
        cut = client.embeddings.create(model="tiny", input="hello", dimensions=4)
        assert len(cut.data[0].embedding) == 4
        more = client.embeddings.create(model="tiny", input="hello",
                                        extra_body={"input_type": "query"})
        assert more.data[0].embedding != answer.data[0].embedding
        assert [model.id for model in client.models.list()] == ["tiny"]
        for wrong, error in [
            ({"model": "gpt", "input": "a"}, openai.NotFoundError),
            ({"model": "tiny", "input": ""}, openai.BadRequestError),
            ({"model": "tiny", "input": [40_000]}, openai.BadRequestError),
        ]:
            with pytest.raises(error) as caught:
                client.embeddings.create(**wrong)
            assert caught.value.code and caught.value.type == "invalid_request_error"


def test_langchains_client(server, expected):
    from langchain_openai import OpenAIEmbeddings

    # Otherwise it sends the ids of OpenAI's tokenizer instead of texts.
    client = OpenAIEmbeddings(base_url=server.url + "/v1", api_key="none", model="tiny",
                              max_retries=0, check_embedding_ctx_length=False)
    same(client.embed_documents(TEXTS), expected)
    same(client.embed_query(TEXTS[1]), expected[1])
    cut = OpenAIEmbeddings(base_url=server.url + "/v1", api_key="none", model="tiny", dimensions=4,
                           max_retries=0, check_embedding_ctx_length=False)
    assert len(cut.embed_query("a")) == 4


def test_llamaindexs_client(server, expected):
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    client = TextEmbeddingsInference(model_name="tiny", base_url=server.url, timeout=60)
    same(client.get_text_embedding_batch(TEXTS), expected)
    same(client.get_query_embedding(TEXTS[1]), expected[1])


def test_ollamas_client(server, expected):
    import ollama

    client = ollama.Client(host=server.url)
    for name in ["tiny", "tiny:latest"]:
        answer = client.embed(model=name, input=TEXTS)
        same(answer.embeddings, expected)
    assert answer.model == "tiny" and answer.prompt_eval_count > len(TEXTS)
    same(client.embed(model="tiny", input=TEXTS[0]).embeddings, expected[:1])
    assert len(client.embed(model="tiny", input="a", dimensions=4).embeddings[0]) == 4
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed(model="llama", input="a")
    assert caught.value.status_code == 404


NODE_PROGRAM = """
const {library, address, texts} = JSON.parse(process.argv[2]);
const {default: OpenAI} = await import(library);
const client = new OpenAI({baseURL: address, apiKey: "none", maxRetries: 0});
const vectors = [];
for (const more of [{}, {encoding_format: "float"}]) {  // without a word it asks for base64
  const answer = await client.embeddings.create({model: "tiny", input: texts, ...more});
  vectors.push(answer.data.map((item) => Array.from(item.embedding)));
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
let refused = null;
try {
  await client.embeddings.create({model: "gpt", input: "a"});
} catch (error) {
  refused = {name: error.constructor.name, status: error.status, code: error.code};
}
console.log(JSON.stringify({vectors, models, refused}));
"""


def test_openais_client_for_node(server, expected):
    library = command_line.CACHE / "test-clients/openai-node/index.mjs"
    given = {"library": library.as_uri(), "address": server.url + "/v1", "texts": TEXTS}
    done = subprocess.run(["node", "--input-type=module", "-", json.dumps(given)], text=True,
                          input=NODE_PROGRAM, capture_output=True, check=False,
                          timeout=command_line.SECONDS_MAX)  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    for vectors in answer["vectors"]:
        same(vectors, expected)
    assert answer["models"] == ["tiny"]
    assert answer["refused"] == {"name": "NotFoundError", "status": 404, "code": "model_not_found"}
