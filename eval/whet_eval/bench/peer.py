"""One peer's fan-out, run by the peers' own interpreter: `peer.py NAME URL MODEL SIZE ROUNDS` prints wall seconds.

Nothing of Whet is imported here, since nothing of it is installed there.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

Fanout = Callable[[str, int], Awaitable[list[str]]]


def by_openai(url: str, model: str) -> Fanout:
    """The OpenAI SDK as shipped: one async client, `asyncio.gather`."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def one(prompt: str) -> str:
        messages: Any = [{"role": "user", "content": prompt}]
        stream = await client.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options={"include_usage": True}, max_tokens=64
        )
        return "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])

    return lambda prompt, size: asyncio.gather(*(one(prompt) for _ in range(size)))


def by_litellm(url: str, model: str) -> Fanout:
    """LiteLLM's router with one deployment."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm import Router

    params = {"model": f"openai/{model}", "api_base": url, "api_key": "none"}
    router = Router(model_list=[{"model_name": "stub", "litellm_params": params}], num_retries=0)

    async def one(prompt: str) -> str:
        messages: Any = [{"role": "user", "content": prompt}]
        stream: Any = await router.acompletion(
            model="stub", messages=messages, stream=True, stream_options={"include_usage": True}, max_tokens=64
        )
        return "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])

    return lambda prompt, size: asyncio.gather(*(one(prompt) for _ in range(size)))


async def by_tensorzero(url: str, model: str) -> Fanout:
    """TensorZero's embedded gateway, without a database behind it."""
    import tempfile

    from tensorzero import AsyncTensorZeroGateway

    config = f"""
[models.stub]
routing = ["stub"]
[models.stub.providers.stub]
type = "openai"
model_name = "{model}"
api_base = "{url}"
api_key_location = "none"
[functions.say]
type = "chat"
[functions.say.variants.stub]
type = "chat_completion"
model = "stub"
max_tokens = 64
"""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(config)
    gateway: Any = await AsyncTensorZeroGateway.build_embedded(config_file=file.name)

    async def one(prompt: str) -> str:
        asked = {"messages": [{"role": "user", "content": prompt}]}
        stream = await gateway.inference(function_name="say", input=asked, stream=True)
        return "".join([block.text for part in [p async for p in stream] for block in part.content])

    return lambda prompt, size: asyncio.gather(*(one(prompt) for _ in range(size)))


async def main() -> None:
    """Run a first fan-out unmeasured and then ROUNDS measured ones."""
    name, url, model, size, rounds = sys.argv[1:]
    if name == "tensorzero":
        fanout = await by_tensorzero(url, model)
    else:
        fanout = {"openai": by_openai, "litellm": by_litellm}[name](url, model)
    walls = []
    for number in range(int(rounds) + 1):
        start = time.perf_counter()
        texts = await fanout(f"Say twenty words. {size} {number}", int(size))
        if not all(texts) or len(texts) != int(size):
            sys.exit(f"{name}: {sum(map(bool, texts))} of {size} answered")
        walls.append(time.perf_counter() - start)
    sys.stdout.write(json.dumps(walls[1:]) + "\n")
    sys.stdout.flush()
    os._exit(0)  # an embedded gateway may crash while the interpreter takes itself down, which is not what we measure


if __name__ == "__main__":
    asyncio.run(main())
