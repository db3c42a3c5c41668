"""A webhook over kills of the server: what a run's end promised arrives."""

import asyncio

import pytest
from tests.e2e.serving import PATIENCE, House
from tests.server.hook.receiver import BROKEN, HANGS, receiving

from whet.v1 import event_pb2, fanout_pb2, hook_pb2, hook_pb2_grpc

pytestmark = pytest.mark.slow
SECRET = "a secret of many letters"


@pytest.mark.parametrize("said", [BROKEN, HANGS])
async def test_a_delivery_that_a_kill_cut_off_arrives_after_the_next_start(house: House, said: bytes | None) -> None:
    house.config = 'synthesiser = "sim/steady"'
    wire = await house.start()
    async with receiving(said) as receiver:
        stub = hook_pb2_grpc.HookServiceStub(wire.channel)
        kinds = [event_pb2.RUN_KIND_FANOUT]
        await wire.ask(stub.PutHook, hook_pb2.PutHookRequest(name="ci", url=receiver.url, secret=SECRET, kinds=kinds))
        spec = fanout_pb2.FanoutSpec(prompt="What is a monad?", models=["sim/fast"])
        started = await wire.ask(wire.fanouts.StartFanout, fanout_pb2.StartFanoutRequest(spec=spec))
        await receiver.wait_for(1)
        await house.kill()
        wire = await house.start()
        first, *_, last = await receiver.wait_for(2)
        assert last.is_signed_with(SECRET)
        assert (last.delivery_id, last.body) == (first.delivery_id, first.body)
        assert last.told["run_id"] == started.fanout.run_id
        stub = hook_pb2_grpc.HookServiceStub(wire.channel)
        listed = hook_pb2.ListDeliveriesRequest(state=hook_pb2.DELIVERY_STATE_DELIVERED)
        async with asyncio.timeout(PATIENCE):
            while not (await wire.ask(stub.ListDeliveries, listed)).deliveries:
                pass
        assert SECRET not in house.log.read_text()
        assert SECRET.encode() not in b"".join(file.read_bytes() for file in house.data.glob("whet.db*"))
