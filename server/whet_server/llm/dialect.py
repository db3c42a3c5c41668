"""What differs between the providers that speak chat completions, told by the base URL alone.

docs/endpoints.md says which base URL to give for which provider.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from whet_server.llm.keys import origin_of
from whet_server.values import Value

_AZURE: Final = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_ANTHROPIC: Final = "api.anthropic.com"
_ANTHROPIC_VERSION: Final = "2023-06-01"
_OPENAI: Final = "api.openai.com"
_KNOWN_URLS: Final = 1024
"""URLs whose reading is remembered; more than anybody configures."""


class Dialect(Value):
    """How one endpoint wants to be spoken to."""

    origin: str
    chat_url: str
    embeddings_url: str
    models_url: str
    key_headers: tuple[tuple[str, str], ...]
    """Header names with the text before the key; the key follows."""
    fixed_headers: tuple[tuple[str, str], ...] = ()
    limit_field: str = "max_tokens"
    """What the endpoint calls the most tokens of an answer."""


@lru_cache(maxsize=_KNOWN_URLS)
def dialect_of(base_url: str) -> Dialect:
    """Return how to speak to the endpoint at `base_url`."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    query = f"?{parts.query}" if parts.query else ""
    azure = host.endswith(_AZURE) or "api-version=" in parts.query
    key_headers: tuple[tuple[str, str], ...] = (("api-key", ""),) if azure else (("authorization", "Bearer "),)
    if host == _ANTHROPIC:
        key_headers = (*key_headers, ("x-api-key", ""))
    return Dialect(
        origin=origin_of(base_url),
        chat_url=f"{base}/chat/completions{query}",
        embeddings_url=f"{base}/embeddings{query}",
        models_url=f"{_models_base(base)}/models{query}",
        key_headers=key_headers,
        fixed_headers=(("anthropic-version", _ANTHROPIC_VERSION),) if host == _ANTHROPIC else (),
        limit_field="max_completion_tokens" if azure or host == _OPENAI else "max_tokens",
    )


def _models_base(base: str) -> str:
    """Return where models are listed: at Azure beside the deployments, not under one of them."""
    head, found, _ = base.partition("/openai/deployments/")
    return f"{head}/openai" if found else base
