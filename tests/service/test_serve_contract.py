# In: the server's own OpenAPI document, and requests that schemathesis makes of it: good ones, wrong
# ones, other methods. Out: whether each reply is one that the document describes: no request that
# it allows is refused, none that it forbids is served, and no reply has another status or form.
import json

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

import command_line

load_all_checks()

DOCUMENT = command_line.ROOT / "apps/server/openapi.json"
# The same requests each time, so that a failure comes again.
EXAMPLES = 50
# Of the small model, which the document cannot know.
NAME, DIMENSION, VOCABULARY, TOKENS_MAX, PROMPTS = "tiny", 32, 30522, 64, ["passage", "query"]

# Why a request may be refused although the document allows it, which cannot say that members do not
# go together.
ALLOWED_REFUSALS = ("exclude each other", "with texts, not with token ids")


def tightened(document):
    """Puts in what only this model's document could say, and the document for all of them does not."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        members = schema.get("properties", {})
        for place in [members, members.get("parameters", {}).get("properties", {})]:
            if "dimensions" in place:
                place["dimensions"]["maximum"] = DIMENSION
            if "prompt_name" in place:
                place["prompt_name"]["enum"] = [*PROMPTS, None]
            if "model" in place:
                place["model"]["enum"] = [NAME, None]
            if "instruction" in place:
                place["instruction"]["enum"] = [None]  # it is no instruction model
    document["paths"]["/v1/models/{model}"]["get"]["parameters"][0]["schema"]["enum"] = [NAME]
    integers = [*schemas["TextOrIds"]["oneOf"], *schemas["DecodeRequest"]["properties"]["ids"]["oneOf"]]
    for choice in integers:
        for ids in [choice, choice.get("items", {})]:
            if ids.get("items", {}).get("type") == "integer":
                ids["items"]["maximum"] = VOCABULARY - 1
                ids["maxItems"] = TOKENS_MAX
    return document


schema = schemathesis.openapi.from_dict(tightened(json.loads(DOCUMENT.read_text())))


@pytest.fixture(scope="module", autouse=True)
def unharmed(server):
    assert server.golden  # asked for before
    yield
    server.assert_unharmed()
    server.wait_for_metric("textvec_requests_in_flight", lambda count: count == 0)


def test_the_document_is_what_is_served(server):
    assert server.get("/openapi.json").json() == json.loads(DOCUMENT.read_text())
    info = server.get("/info").json()
    assert (info["model_id"], info["dimension"], info["max_input_length"]) == (
        NAME, DIMENSION, TOKENS_MAX)
    assert sorted(info["prompts"]) == PROMPTS


@schema.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_replies_are_those_of_the_document(case, server):
    reply = case.call(base_url=server.url)
    case.validate_response(reply, excluded_checks=[positive_data_acceptance])
    assert reply.headers["x-request-id"]
    good = case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if good and reply.status_code >= 400 and reply.status_code != 424:
        assert any(part in reply.text for part in ALLOWED_REFUSALS), reply.text
