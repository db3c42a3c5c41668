import asyncio
import json
import signal
import sys

import aiohttp

from whet_eval.misbehaviour import ENDLESS, FREE, KINDS, QUICK
from whet_eval.provider import ProviderStub


async def test_it_runs_as_a_process_of_its_own_and_prints_its_url() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "whet_eval.provider", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            url = (await process.stdout.readline()).decode().split()[-1]
            body = {"model": "plain?chunks=2", "messages": [{"role": "user", "content": "hello there"}]}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                text = await response.text()
            async with session.get(url.removesuffix("/v1") + "/bill") as response:
                bill = await response.json()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert text.endswith("data: [DONE]\n\n")
    assert [json.loads(line[6:])["choices"] for line in text.split("\n\n") if '"word' in line]
    assert [(charge["kind"], charge["input_tokens"], charge["output_tokens"]) for charge in bill] == [("plain", 6, 2)]


async def test_the_same_seed_misbehaves_in_the_same_order() -> None:
    async def kinds(seed: int) -> list[str]:
        async with ProviderStub(seed=seed) as stub:
            return [stub._named("mixed")[0] for _ in range(50)]

    assert await kinds(1) == await kinds(1) != await kinds(2)


def test_what_is_drawn_ends_by_itself_and_what_is_refused_is_free() -> None:
    assert ENDLESS.isdisjoint(QUICK)
    assert set(KINDS) >= FREE | ENDLESS
    assert {"bad-request", "rate-limited", "no-credit", "redirect"} <= FREE
    assert FREE.isdisjoint({"server-error", "half-stream", "empty-answer"})
