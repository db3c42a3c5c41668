import asyncio

import pytest
from tests.server.llm.house import HOME, SEALER, open_house, spec

from whet_eval.provider import ProviderStub
from whet_server.errors import EndpointNotFound, InvalidField, ModelNotFound, Reason, WrongState
from whet_server.ledger.prices import Price
from whet_server.llm.base import EndpointKind, EndpointSettings, ModelSettings, RateLimits
from whet_server.llm.keys import BoundKey, origin_of
from whet_server.llm.registry import Endpoints
from whet_server.store.base import EndpointRecord, RequestRecord
from whet_server.store.memory import MemoryStore
from whet_server.values import ModelName, Workspace

OTHER = Workspace("other")
LOCAL = EndpointSettings(
    name="local", kind=EndpointKind.LOCAL, models=(ModelSettings(model="smollm2"),), source="built-in"
)
ENVIRONMENT = EndpointSettings(name="openai", base_url="https://api.openai.com/v1", source="environment")


async def _open(store: MemoryStore, *configured: tuple[EndpointSettings, BoundKey | None]) -> Endpoints:
    return await Endpoints.open(store, sealer=SEALER, transports={}, configured=configured)


async def test_an_endpoint_and_its_key_are_there_again_after_a_restart() -> None:
    async with open_house() as house:
        settings = EndpointSettings(name="mine", base_url=house.stub.url, limits=RateLimits(requests_per_minute=60))
        put = await house.endpoints.put(HOME, settings, "sk-mine")
        transports = {EndpointKind.OPENAI: house.transport}
        again = await Endpoints.open(house.store, sealer=SEALER, transports=transports, configured=[])
        assert again.get(HOME, "mine") == put
        assert (await again.test(HOME, "mine")).ok
        assert house.stub.requests == 0
        key = (await again.route(HOME, ModelName("mine/plain"))).endpoint.key
    assert put.has_key
    assert put.settings.source == "rpc"
    assert key is not None
    assert key.reveal(origin_of(settings.base_url)) == "sk-mine"


async def test_a_stored_key_is_not_readable_in_the_store() -> None:
    store = MemoryStore()
    endpoints = await _open(store)
    await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v1"), "sk-mine")
    (record,) = await store.endpoints(HOME)
    assert b"sk-mine" not in record.sealed_key + record.settings


async def test_a_key_is_kept_while_the_origin_stays_and_dropped_when_it_changes() -> None:
    endpoints = await _open(MemoryStore())
    await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v1"), "sk-mine")
    same = await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v2"), None)
    other = await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://b.example/v2"), None)
    back = await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v1"), None)
    assert [same.has_key, other.has_key, back.has_key] == [True, False, False]


@pytest.mark.parametrize("field", ["workspace", "name", "base_url"])
async def test_a_row_copied_elsewhere_brings_no_key_along(field: str) -> None:
    store = MemoryStore()
    endpoints = await _open(store)
    await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v1"), "sk-mine")
    (record,) = await store.endpoints(HOME)
    moved = EndpointRecord(
        workspace=OTHER if field == "workspace" else HOME,
        name="theirs" if field == "name" else "mine",
        settings=record.settings.replace(b"a.example", b"b.example") if field == "base_url" else record.settings,
        sealed_key=record.sealed_key,
    )
    await store.commit(moved)
    again = await _open(store)
    assert not again.get(moved.workspace, moved.name).has_key


async def test_a_workspace_sees_its_own_endpoints_and_the_shared_ones() -> None:
    endpoints = await _open(MemoryStore(), (ENVIRONMENT, None), (LOCAL, None))
    await endpoints.put(HOME, EndpointSettings(name="mine", base_url="https://a.example/v1"), None)
    assert [status.settings.name for status in await endpoints.list(HOME)] == ["local", "mine", "openai"]
    assert [status.settings.name for status in await endpoints.list(OTHER)] == ["local", "openai"]
    with pytest.raises(EndpointNotFound, match="local, openai"):
        endpoints.get(OTHER, "mine")


@pytest.mark.parametrize(("name", "where"), [("openai", "environment"), ("local", "server itself")])
async def test_what_is_configured_elsewhere_is_not_deleted_here(name: str, where: str) -> None:
    endpoints = await _open(MemoryStore(), (ENVIRONMENT, None), (LOCAL, None))
    with pytest.raises(WrongState, match=where):
        await endpoints.delete(HOME, name)


async def test_a_built_in_endpoint_is_not_changed() -> None:
    endpoints = await _open(MemoryStore(), (LOCAL, None))
    with pytest.raises(WrongState):
        await endpoints.put(HOME, EndpointSettings(name="local", base_url="https://a.example/v1"), None)


async def test_limits_of_the_file_leave_a_built_in_endpoint_its_models() -> None:
    limited = EndpointSettings(name="local", kind=EndpointKind.LOCAL, limits=RateLimits(max_concurrency=2))
    endpoints = await _open(MemoryStore(), (LOCAL, None), (limited, None))
    assert endpoints.get(HOME, "local").current_concurrency == 2
    assert (await endpoints.resolve(HOME, ModelName("local/smollm2"))).price is not None
    with pytest.raises(WrongState):
        await endpoints.put(HOME, EndpointSettings(name="local", base_url="https://a.example/v1"), None)


async def test_a_workspace_may_adjust_an_endpoint_of_the_environment_for_itself_and_take_it_back() -> None:
    store = MemoryStore()
    key = BoundKey("sk-env", "https://api.openai.com:443")
    endpoints = await _open(store, (ENVIRONMENT, key))
    changed = await endpoints.put(HOME, EndpointSettings(name="openai", limits=RateLimits(max_concurrency=5)), None)
    assert changed.has_key
    assert changed.settings.base_url == ENVIRONMENT.base_url
    assert changed.current_concurrency == 5
    assert endpoints.get(OTHER, "openai").current_concurrency == 256
    (record,) = await store.endpoints(HOME)
    assert record.sealed_key == b""
    assert (await _open(store, (ENVIRONMENT, key))).get(HOME, "openai").has_key
    assert not (await _open(store, (ENVIRONMENT, None))).get(HOME, "openai").has_key
    await endpoints.delete(HOME, "openai")
    assert endpoints.get(HOME, "openai").settings == ENVIRONMENT


async def test_a_borrowed_key_does_not_follow_to_another_origin() -> None:
    endpoints = await _open(MemoryStore(), (ENVIRONMENT, BoundKey("sk-env", "https://api.openai.com:443")))
    moved = await endpoints.put(HOME, EndpointSettings(name="openai", base_url="https://evil.example/v1"), None)
    assert not moved.has_key


async def test_changes_are_durable_together_with_what_goes_with_them() -> None:
    store = MemoryStore()
    endpoints = await _open(store)
    request = RequestRecord(
        workspace=HOME, request_id="r1", method="PutEndpoint", payload_digest="d", answer="mine", create_ns=1
    )
    settings = EndpointSettings(name="mine", base_url="https://a.example/v1")
    await endpoints.put(HOME, settings, None, also=[request])
    assert await store.request(HOME, "r1") == request
    await endpoints.delete(HOME, "mine")
    assert await store.endpoints(None) == []
    with pytest.raises(EndpointNotFound):
        await endpoints.delete(HOME, "mine")


@pytest.mark.parametrize(
    ("settings", "key", "field"),
    [
        (EndpointSettings(name="mine", base_url="http://a.example/v1"), None, "base_url"),
        (EndpointSettings(name="mine"), None, "base_url"),
        (EndpointSettings(name="Mine", base_url="https://a.example/v1"), None, "name"),
        (EndpointSettings(name="a/b", base_url="https://a.example/v1"), None, "name"),
        (EndpointSettings(name="mine", base_url="https://a.example/v1"), "sk\nhost: x", "api_key"),
        (EndpointSettings(name="mine", base_url="https://a.example/v1"), "schlüssel", "api_key"),
    ],
)
async def test_an_endpoint_that_cannot_be_used_is_refused_with_its_field(
    settings: EndpointSettings, key: str | None, field: str
) -> None:
    store = MemoryStore()
    endpoints = await _open(store)
    with pytest.raises(InvalidField) as refused:
        await endpoints.put(HOME, settings, key)
    assert refused.value.violations[0][0] == field
    assert await store.endpoints(None) == []


async def test_a_configured_url_that_shows_keys_is_refused_at_the_start() -> None:
    unsafe = EndpointSettings(name="x", base_url="http://a.example/v1")
    with pytest.raises(InvalidField, match="endpoint x"):
        await _open(MemoryStore(), (unsafe, None))
    await _open(MemoryStore(), (EndpointSettings(name="x", base_url="http://a.example/v1", plain_http=True), None))


async def test_a_test_says_whether_an_endpoint_can_be_reached() -> None:
    async with open_house() as house:
        await house.endpoints.put(HOME, EndpointSettings(name="gone", base_url=house.stub.refused_url), None)
        good = await house.endpoints.test(HOME, "stub")
        bad = await house.endpoints.test(HOME, "gone")
        with pytest.raises(EndpointNotFound):
            await house.endpoints.test(HOME, "nowhere")
    assert good.ok
    assert "plain" in good.models
    assert good.latency_ns > 0
    assert not bad.ok
    assert bad.failure is not None
    assert bad.failure.reason == Reason.PROVIDER_UNREACHABLE


async def test_models_are_those_configured_and_those_the_endpoints_name() -> None:
    async with open_house(price=Price(input=1, output=2, source="endpoint")) as house:
        await house.endpoints.put(HOME, EndpointSettings(name="gone", base_url=house.stub.refused_url), None)
        models = {info.name: info for info in await house.endpoints.models(HOME)}
        only_sim = await house.endpoints.models(HOME, "sim")
    assert models[ModelName("stub/plain")].price == Price(input=1, output=2, source="endpoint")
    assert models[ModelName("sim/fast")].simulated
    assert {info.name.partition("/")[0] for info in only_sim} == {"sim"}
    assert not [name for name in models if name.startswith("gone/")]


async def test_known_models_of_known_providers_have_their_price() -> None:
    endpoints = await _open(MemoryStore(), (ENVIRONMENT, None))
    known = await endpoints.resolve(HOME, ModelName("openai/gpt-4o-mini"))
    unknown = await endpoints.resolve(HOME, ModelName("openai/no-such-model-at-all"))
    assert known.price is not None
    assert known.price.source == "genai-prices"
    assert unknown.price is None


async def test_the_local_endpoint_has_the_models_it_names() -> None:
    endpoints = await _open(MemoryStore(), (LOCAL, None))
    info = await endpoints.resolve(HOME, ModelName("local/smollm2"))
    assert info.price == Price(input=0, output=0, source="local")
    with pytest.raises(ModelNotFound, match="smollm2"):
        await endpoints.resolve(HOME, ModelName("local/gpt-9"))


async def test_a_changed_limit_holds_for_calls_that_wait() -> None:
    async with open_house() as house:
        settings = EndpointSettings(name="mine", base_url=house.stub.url, limits=RateLimits(max_concurrency=1))
        await house.endpoints.put(HOME, settings, None)
        route = await house.endpoints.route(HOME, spec("mine/plain").models[0])
        gate = route.endpoint.gate
        assert gate.slots.take()
        waiting = asyncio.create_task(gate.slots.wait())
        await asyncio.sleep(0)
        await house.endpoints.put(HOME, EndpointSettings(name="mine", limits=RateLimits(max_concurrency=2)), None)
        async with asyncio.timeout(1):
            await waiting


async def test_a_key_by_rpc_reaches_only_the_endpoint_it_was_given_for() -> None:
    async with ProviderStub() as theirs, open_house() as house:
        await house.endpoints.put(HOME, EndpointSettings(name="mine", base_url=house.stub.url), "sk-mine")
        await house.call(spec("mine/plain"))
        await house.endpoints.put(HOME, EndpointSettings(name="mine", base_url=theirs.url), None)
        await house.call(spec("mine/plain"))
        assert house.stub.headers_seen[-1]["authorization"] == "Bearer sk-mine"
        assert theirs.requests == 1
        assert "authorization" not in theirs.headers_seen[-1]
