"""What providers say when they refuse: recorded answers, and the words for a prompt too long.

The texts without a recording stand as providers document them, or as users report them in public
issues; each is named.
"""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import UpstreamAuth, UpstreamInvalid, UpstreamRefused, UpstreamTimeout
from app.providers.client.failures import refusal
from tests.harness.recordings import recordings

ERRORS = [r for r in recordings() if r.status >= 400]

TOO_LONG = {
    "openai": (400, {"error": {"message": "This model's maximum context length is 4097 tokens. "
               "However, you requested 5000 tokens", "code": "context_length_exceeded"}}),
    "azure": (400, {"error": {"message": "This model's maximum context length is 8192 tokens, "
              "however you requested 9000", "type": "invalid_request_error", "code": None}}),
    "anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error",
                  "message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
    "anthropic with its answer": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}),
    "gemini": (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
               "The input token count (1200001) exceeds the maximum number of tokens allowed "
               "(1048576)."}}),
    "bedrock": (400, {"message": "Input is too long for requested model."}),
    "bedrock nova": (400, {"message": "Input Tokens Exceeded: Number of input tokens exceeds "
                     "maximum length. Please update the input to try again."}),
    "bedrock titan": (400, {"message": "400 Bad Request: Too many input tokens. Max input tokens: "
                      "8192, request input token count: 11513"}),
    "mistral": (400, {"object": "error", "message": "Prompt contains 40012 tokens and 0 draft "
                "tokens, too large for model with 32768 maximum context length",
                "type": "invalid_request_error", "param": None, "code": "3051"}),
    "groq": (400, {"error": {"message": "Please reduce the length of the messages or completion.",
             "type": "invalid_request_error", "param": "messages",
             "code": "context_length_exceeded"}}),
    "cerebras": (400, {"message": "Please reduce the length of the messages or completion. Current "
                 "length is 9153 while limit is 8192", "type": "invalid_request_error",
                 "param": "messages", "code": "context_length_exceeded"}),
    "together": (422, {"error": {"message": "Input validation error: `inputs` tokens + "
                 "`max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens"}}),
    "fireworks": (400, {"error": {"object": "error", "message": "The prompt is too long: 140000, "
                  "model maximum context length: 131071"}}),
    "openrouter": (400, {"error": {"code": 400, "message": "This endpoint's maximum context length "
                   "is 131072 tokens. However, you requested about 150000 tokens"}}),
    "xai": (400, {"code": "Client specified an invalid argument", "error": "This model's maximum "
            "prompt length is 131072 but the request contains 150000 tokens."}),
    "deepseek": (400, {"error": {"message": "This model's maximum context length is 65536 tokens. "
                 "However, you requested 70000 tokens", "type": "invalid_request_error"}}),
    "sglang": (400, {"object": "error", "message": "The input (9000 tokens) is longer than the "
               "model's context length (8192 tokens).", "code": 400}),
    "vllm": (400, {"object": "error", "message": "This model's maximum context length is 4096 "
             "tokens. However, your request has 5000 input tokens.", "code": 400}),
    "llama.cpp": (400, {"error": {"code": 400, "message": "the request exceeds the available "
                  "context size", "type": "exceed_context_size_error"}}),
    "llama-cpp-python": (400, {"error": {"message": "Requested tokens (5000) exceed context window "
                         "of 4096", "code": None}}),
}  # fmt: skip


def refused(status, document, **headers):
    sent = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return refusal(status, sent, orjson.dumps(document), ())


@pytest.mark.parametrize("recording", ERRORS, ids=lambda r: r.name)
def test_a_recorded_refusal_has_the_status_and_a_text(recording):
    headers = {name.encode(): value.encode() for name, value in recording.headers.items()}
    error = refusal(recording.status, headers, recording.body, ())
    assert error.status == recording.expect["status"]
    envelope = error.envelope()["error"]
    assert set(envelope) >= {"message", "type", "code", "param"}
    assert not isinstance(envelope["code"], int)
    if isinstance(error, UpstreamRefused):
        assert "refused with status" not in error.message, "the provider's own words are kept"


@pytest.mark.parametrize("provider", TOO_LONG)
def test_every_dialects_too_long_is_one_code(provider):
    status, document = TOO_LONG[provider]
    error = refused(status, document)
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert error.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (
            429,
            {"error": {"message": "Request too large for model: reduce the length of the prompt"}},
        ),
        (400, {"error": {"message": "max_tokens is too large"}}),
        (400, {"error": {"message": "The name of a tool is too long", "code": "x"}}),
        (413, {"error": {"message": "Request exceeds the maximum size"}}),
    ],
)
def test_another_length_is_not_the_contexts(status, document):
    assert refused(status, document).code != "context_length_exceeded"


def test_a_key_that_google_does_not_know_is_the_operators_problem():
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    body = {"error": {"code": 400, "message": "API key not valid.", "details": [detail]}}
    assert isinstance(refused(400, body), UpstreamAuth)


def test_googles_word_on_when_to_retry_is_passed_on():
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.3s"}
    body = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}}
    body["error"]["details"] = [delay]
    assert (b"retry-after", b"13") in refused(429, body).headers
    assert (b"retry-after", b"13") in refused(429, [body]).headers, "as it comes on a stream"


def test_a_quota_that_is_used_up_is_not_transient():
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert (b"x-should-retry", b"false") in refused(429, body).headers


def test_an_unpaid_bill_is_the_operators_problem():
    assert isinstance(refused(402, {"error": {"message": "Insufficient credits"}}), UpstreamAuth)


@pytest.mark.parametrize(("status", "error"), [(424, UpstreamInvalid), (408, UpstreamTimeout)])
def test_a_model_that_fails_behind_bedrock_is_the_upstreams_failure(status, error):
    made = refused(status, {"message": "x"}, x_amzn_errortype=b"ModelErrorException:http://x/")
    assert isinstance(made, error)
