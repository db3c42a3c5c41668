import asyncio

import grpc.aio
import pytest
from google.protobuf.message import Message
from tests.server.hook.receiver import PATIENCE, receiving
from tests.server.rpc.conftest import Client, Served, question, refused

from whet.v1 import approval_pb2, event_pb2, hook_pb2, value_pb2

SECRET = "a secret of many letters"
ELSEWHERE = "https://hooks.example.com/x"


def put(request_id: str = "", url: str = ELSEWHERE, **fields: object) -> hook_pb2.PutHookRequest:
    return hook_pb2.PutHookRequest(**({"request_id": request_id, "name": "ci", "url": url} | fields))  # type: ignore[arg-type]  # fields by name


class Caller:
    """The service as one caller sees it."""

    def __init__(self, client: Client) -> None:
        self._stub = client.hook
        self._metadata = client.metadata

    async def put(self, request: hook_pb2.PutHookRequest) -> hook_pb2.PutHookResponse:
        return await self._stub.PutHook(request, metadata=self._metadata)

    async def names(self) -> list[str]:
        return [hook.name for hook in await self.hooks()]

    async def hooks(self) -> list[hook_pb2.Hook]:
        return list((await self._stub.ListHooks(hook_pb2.ListHooksRequest(), metadata=self._metadata)).hooks)

    async def delete(self, name: str = "ci", request_id: str = "") -> None:
        await self._stub.DeleteHook(
            hook_pb2.DeleteHookRequest(name=name, request_id=request_id), metadata=self._metadata
        )

    async def test(self, name: str = "ci", request_id: str = "") -> hook_pb2.Delivery:
        request = hook_pb2.TestHookRequest(name=name, request_id=request_id)
        return (await self._stub.TestHook(request, metadata=self._metadata)).delivery

    async def deliveries(self, **fields: object) -> hook_pb2.ListDeliveriesResponse:
        request = hook_pb2.ListDeliveriesRequest(**fields)  # type: ignore[arg-type]  # fields by name
        return await self._stub.ListDeliveries(request, metadata=self._metadata)


async def test_a_secret_that_the_server_made_is_told_once_and_to_the_call_that_made_it(served: Served) -> None:
    person = Caller(served.person)
    made = await person.put(put("r1"))
    assert made.secret.startswith("whsec_")
    assert made.hook.has_secret
    assert (await person.put(put("r1"))).secret == made.secret, "a retry of the same call"
    changed = await person.put(put("r2", kinds=[event_pb2.RUN_KIND_JUDGEMENT]))
    assert (changed.secret, list(changed.hook.kinds)) == ("", [event_pb2.RUN_KIND_JUDGEMENT])
    assert (await person.put(put("r1"))).secret == "", "another call has put it since"
    assert (await person.put(put("r3", secret=SECRET))).secret == ""
    assert made.secret not in str(await person.hooks())


async def test_a_run_that_ends_is_delivered_and_stands_in_the_list(served: Served) -> None:
    person = Caller(served.person)
    async with receiving() as receiver:
        await person.put(put(url=receiver.url, secret=SECRET, kinds=[event_pb2.RUN_KIND_FANOUT]))
        run_id, _ = await served.person.ran(question())
        (request,) = await receiver.wait_for(1)
        assert request.is_signed_with(SECRET)
        assert (request.told["run_id"], request.told["kind"]) == (run_id, "fanout")
        async with asyncio.timeout(PATIENCE):
            while not (found := (await person.deliveries(state=hook_pb2.DELIVERY_STATE_DELIVERED)).deliveries):
                pass
    (delivery,) = found
    assert (delivery.run_id, delivery.hook, delivery.delivery_id) == (run_id, "ci", request.delivery_id)
    assert [attempt.status for attempt in delivery.attempts] == [204]
    assert delivery.attempts[0].start_time.seconds >= delivery.create_time.seconds > 0


async def test_a_test_is_sent_once_even_if_it_is_asked_for_again(served: Served) -> None:
    person = Caller(served.person)
    async with receiving() as receiver:
        await person.put(put(url=receiver.url))
        delivery = await person.test(request_id="t1")
        assert await person.test(request_id="t1") == delivery
        assert (delivery.state, delivery.run_id) == (hook_pb2.DELIVERY_STATE_DELIVERED, "")
        assert [request.told["event"] for request in receiver.received] == ["test"]


async def test_deliveries_come_in_pages(served: Served) -> None:
    person = Caller(served.person)
    async with receiving() as receiver:
        await person.put(put(url=receiver.url))
        ids = [(await person.test()).delivery_id for _ in range(3)]
    first = await person.deliveries(page=value_pb2.Page(size=2))
    second = await person.deliveries(page=value_pb2.Page(size=2, token=first.next_page_token))
    assert [each.delivery_id for page in (first, second) for each in page.deliveries] == ids[::-1]
    assert second.next_page_token == ""


async def test_an_agent_waits_for_a_person_who_never_sees_the_secret(served: Served) -> None:
    agent, person = Caller(served.agent), Caller(served.person)
    async with refused() as said:
        await agent.put(put("a1", secret=SECRET))
    assert said[0].reason == "APPROVAL_REQUIRED"
    listed = await served.person.approval.ListApprovals(
        approval_pb2.ListApprovalsRequest(), metadata=served.person.metadata
    )
    assert [ELSEWHERE in each.arguments_json for each in listed.approvals] == [True]
    assert SECRET not in str(listed)
    assert "(given, not shown)" in listed.approvals[0].arguments_json
    await person.put(put())
    for call in (agent.delete(), agent.test()):
        async with refused() as said:
            await call
        assert said[0].reason == "APPROVAL_REQUIRED"
    assert await agent.names() == ["ci"]


async def test_another_workspace_finds_nothing(served: Served) -> None:
    stranger = Caller(served.stranger)
    await Caller(served.person).put(put())
    assert await stranger.names() == []
    for call in (stranger.delete(), stranger.test()):
        async with refused() as said:
            await call
        assert (said[0].code, said[0].reason) == ("NOT_FOUND", "HOOK_NOT_FOUND")
    assert await Caller(served.person).names() == ["ci"]


async def test_a_deletion_happens_once_and_may_be_repeated(served: Served) -> None:
    person = Caller(served.person)
    await person.put(put())
    await person.delete(request_id="d1")
    await person.delete(request_id="d1")
    assert await person.names() == []
    async with refused() as said:
        await person.delete()
    assert said[0].message == "There is no webhook ci; there are: none."


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (put(url="http://hooks.example.com/"), "url"),
        (put(url="https://169.254.169.254/"), "url"),
        (put(secret="short"), "secret"),
        (put(name="UPPER"), "name"),
        (put(kinds=[event_pb2.RUN_KIND_UNSPECIFIED]), "kinds[0]"),
    ],
)
async def test_what_is_wrong_is_named(served: Served, request_: Message, field: str) -> None:
    assert isinstance(request_, hook_pb2.PutHookRequest)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Caller(served.person).put(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (caught.value.details() or "")
