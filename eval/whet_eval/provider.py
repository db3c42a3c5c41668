"""A provider on this machine that speaks chat completions, misbehaves on demand and keeps its own bill.

What it does is named by the model that is asked: `plain` answers, `prose` answers in Markdown at a steady `rate`,
`judge` answers with JSON by the schema it is given, every name of `misbehaviour.KINDS` does what it says, and `mixed`
draws one that ends by itself for each request, from a seed. Settings follow like a query:
`plain?chunks=20&first_ms=200`.
The bill holds what a provider would charge, whether or not the answer reached anybody.
"""

import argparse
import asyncio
import base64
import json
import random
import signal
import socket
import string
import struct
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qs

from aiohttp import web

from whet_eval.misbehaviour import FREE, KINDS, QUICK, no_schema
from whet_eval.speech import Exchange, Settings

PLAIN: Final = "plain"
PROSE: Final = "prose"
JUDGE: Final = "judge"
MIXED: Final = "mixed"
MAX_REQUEST: Final = 16 << 20
"""Bytes of a request; prompts of megabytes are among the tests."""
NO_SCHEMA: Final = "no-schema"
"""Answers well, unless it is asked for structured output."""
SPOKEN: Final = {**KINDS, PROSE: Exchange.prose, JUDGE: Exchange.verdict, NO_SCHEMA: no_schema}
BACKLOG: Final = 4096
"""Connections that may wait to be accepted: a benchmark opens a thousand at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One request on the bill."""

    model: str
    kind: str
    prompt: str
    input_tokens: int
    output_tokens: int
    max_tokens: int | None = None


@dataclass(slots=True)
class Bill:
    """What the provider would charge, request by request in the order of their arrival."""

    charges: list[Charge] = field(default_factory=list)


class ProviderStub:
    """The server. Use it as an async context manager; `url` is its base URL, `refused_url` one where nobody listens."""

    def __init__(self, *, port: int = 0, seed: int = 0) -> None:
        self._port = port
        self._random = random.Random(seed)  # noqa: S311 -- a reproducible draw, nothing secret
        self._runner: web.AppRunner | None = None
        self.bill = Bill()
        self.url = ""
        self.requests = 0
        self.open = 0
        """Requests being answered right now."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.headers_seen: list[dict[str, str]] = []
        self.model_names: list[str] = [PLAIN, PROSE, JUDGE, MIXED, NO_SCHEMA, *KINDS]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_REQUEST)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/bill", self._show_bill)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=BACKLOG)
        await site.start()
        _, port = self._runner.addresses[0][:2]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def refused_url(self) -> str:
        """A base URL at which connections are refused: its port was free a moment ago."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"

    async def quiet(self) -> None:
        """Wait until no request is being answered any more."""
        await self._quiet.wait()

    async def _models(self, request: web.Request) -> web.StreamResponse:
        listed = [{"id": name, "object": "model", "owned_by": "whet"} for name in self.model_names]
        return web.json_response({"object": "list", "data": listed})

    async def _show_bill(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([asdict(charge) for charge in self.bill.charges])

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.open += 1
        self._quiet.clear()
        try:
            self.headers_seen.append({name.lower(): value for name, value in request.headers.items()})
            body: dict[str, Any] = json.loads(await request.read())
            kind, settings = self._named(str(body["model"]))
            exchange = Exchange(request, body, settings)
            self._charge(exchange, kind)
            return await SPOKEN.get(kind, Exchange.plain)(exchange)
        except ConnectionResetError:
            return web.Response()  # the caller left in the middle; nobody will read this
        finally:
            self.open -= 1
            if not self.open:
                self._quiet.set()

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        """Answer with vectors that count each letter of the alphabet. `embed?floats=1` sends them as numbers,
        `silent=1` says nothing of usage, `lose=1` forgets one, `longest=N` refuses requests with a longer text.
        """
        body: dict[str, Any] = json.loads(await request.read())
        texts: list[str] = body["input"]
        _, _, query = str(body["model"]).partition("?")
        given = {key: int(values[-1]) for key, values in parse_qs(query).items()}
        if max(map(len, texts)) > given.get("longest", MAX_REQUEST):
            return web.json_response({"error": {"message": "a text is too long"}}, status=400)
        tokens = sum(len(text.split()) for text in texts)
        prompt = "\n".join(texts)
        self.bill.charges.append(
            Charge(model=str(body["model"]), kind="embed", prompt=prompt, input_tokens=tokens, output_tokens=0)
        )
        vectors = [[float(text.lower().count(letter)) for letter in string.ascii_lowercase] for text in texts]
        data = [
            {"index": place, "embedding": vector if "floats" in given else _base64(vector)}
            for place, vector in enumerate(vectors[given.get("lose", 0) :])
        ]
        usage = {} if "silent" in given else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        return web.json_response({"object": "list", "data": data} | usage)

    def _named(self, model: str) -> tuple[str, Settings]:
        """Read a model's name into what to do and how."""
        name, _, query = model.partition("?")
        given = {key: values[-1] for key, values in parse_qs(query).items()}
        if name == MIXED:
            name = self._random.choice([PLAIN, *QUICK])
        return name, Settings(**{key: int(value) for key, value in given.items()})

    def _charge(self, exchange: Exchange, kind: str) -> None:
        """Put the request on the bill: all that would be generated, also of what is cut off before it arrives."""
        free = kind in FREE
        self.bill.charges.append(
            Charge(
                model=str(exchange.body["model"]),
                kind=kind,
                prompt=exchange.prompt,
                input_tokens=0 if free else exchange.input_tokens,
                output_tokens=0 if free else exchange.chunks,
                max_tokens=exchange.body.get("max_tokens"),
            )
        )


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


async def serve(port: int, seed: int) -> None:
    """Serve until the process is asked to stop; the first line printed ends in the base URL."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with ProviderStub(port=port, seed=seed) as stub:
        sys.stdout.write(f"listening on {stub.url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main() -> None:
    """Run the stub in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m whet_eval.provider", description=ProviderStub.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="seed of the model `mixed`")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.seed))


if __name__ == "__main__":
    main()
