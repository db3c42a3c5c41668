import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet_server.errors import InvalidField
from whet_server.llm.address import checked_url
from whet_server.llm.dialect import dialect_of

GOOD = [
    "https://api.openai.com/v1",
    "https://x.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21",
    "http://127.0.0.1:11434/v1",
    "http://localhost:8000/v1",
    "http://[::1]:8000/v1",
    "http://192.168.1.20:8000/v1",
    "http://10.0.0.5/v1",
    "http://ollama:11434/v1",
    "http://box.local:11434/v1",
]
BAD = [
    "",
    "api.openai.com/v1",
    "ftp://api.openai.com/v1",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://",
    "https:///v1",
    "https://user:secret@api.openai.com/v1",
    "https://api.openai.com@evil.example/v1",
    "https://api.openai.com/v1#part",
    "https://api.openai.com/v1#",
    "https://api.openai.com/v1?key=abc",
    "https://x.openai.azure.com/openai?api-version=1&key=abc",
    "https://api.openai.com:99999/v1",
    "https://api.openai.com:0/v1",
    "https://api.openai.com:port/v1",
    "https://api.openai.com/v 1",
    "https://api.openai.com\\@evil.example/v1",
    "https://api.openai.com/v1\nhost: evil.example",
    "https://api.openai.com/\x00",
    "https://äpi.example/v1",
    "https://[::1/v1",
    "http://api.openai.com/v1",
    "http://8.8.8.8/v1",
    "http://169.254.169.254/latest",
    "https://169.254.169.254/latest",
    "http://[fe80::1]/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://[::ffff:8.8.8.8]/v1",
    "http://0.0.0.0/v1",
    "http://[::]/v1",
    "http://224.0.0.1/v1",
    "http://2130706433/v1",
    "http://0x7f000001/v1",
    "http://0x7f.1/v1",
    "http://127.1/v1",
    "http://0177.0.0.1/v1",
    "https://2852039166/latest",
    "https://" + "a" * 1000,
]


@pytest.mark.parametrize("url", GOOD)
def test_a_sensible_base_url_is_accepted(url: str) -> None:
    assert checked_url(url, field="base_url") == url


@pytest.mark.parametrize("url", BAD)
def test_a_base_url_that_no_key_should_go_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidField) as refused:
        checked_url(url, field="base_url")
    assert refused.value.violations[0][0] == "base_url"


@given(st.text(max_size=60))
def test_no_text_is_too_odd_for_a_url(text: str) -> None:
    with contextlib.suppress(InvalidField):
        checked_url(text, field="base_url")


def test_plain_http_to_the_world_needs_a_word() -> None:
    assert checked_url("http://llm.example/v1", field="base_url", plain_http=True)


def test_a_slash_at_the_end_makes_no_difference() -> None:
    assert checked_url("https://api.openai.com/v1/", field="base_url") == "https://api.openai.com/v1"


def test_azure_is_asked_as_azure_wants_it() -> None:
    dialect = dialect_of("https://x.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21")
    assert dialect.chat_url == (
        "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    )
    assert dialect.models_url == "https://x.openai.azure.com/openai/models?api-version=2024-10-21"
    assert dialect.key_headers == (("api-key", ""),)
    assert dialect.limit_field == "max_completion_tokens"


def test_anthropic_gets_its_own_headers_beside_the_common_one() -> None:
    dialect = dialect_of("https://api.anthropic.com/v1/")
    assert dialect.chat_url == "https://api.anthropic.com/v1/chat/completions"
    assert ("x-api-key", "") in dialect.key_headers
    assert ("authorization", "Bearer ") in dialect.key_headers
    assert dict(dialect.fixed_headers) == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://openrouter.ai/api/v1",
        "http://127.0.0.1:11434/v1",
    ],
)
def test_everybody_else_is_asked_the_common_way(url: str) -> None:
    dialect = dialect_of(url)
    assert dialect.chat_url == f"{url}/chat/completions"
    assert dialect.models_url == f"{url}/models"
    assert dialect.key_headers == (("authorization", "Bearer "),)
    assert dialect.limit_field == "max_tokens"
