"""One call's turn at an endpoint and a model: what it takes from their limits, and gives back."""

from collections.abc import Callable, Sequence

from whet_server.llm.endpoint import Gate


class Turn:
    """Book, enter, leave. `leave` may be called at any point and gives back whatever was taken."""

    def __init__(self, gates: Sequence[Gate], tokens: int) -> None:
        self._gates = gates
        self._tokens = tokens
        self._booked = False
        self._used = False
        self._entered = 0

    def book(self) -> float:
        """Take a request and its tokens from the limits a minute; return the seconds to wait before entering."""
        self._booked = True
        return max([gate.take(self._tokens) for gate in self._gates])

    def enter_now(self) -> bool:
        """Enter if there is room everywhere without waiting."""
        while self._entered < len(self._gates) and self._gates[self._entered].slots.take():
            self._entered += 1
        return self._entered == len(self._gates)

    async def enter(self, waits: Callable[[], None]) -> None:
        """Enter, calling `waits` when that takes time."""
        while not self.enter_now():
            waits()
            await self._gates[self._entered].slots.wait()
            self._entered += 1

    def sent(self) -> None:
        """The request went out, so its place in the minute is used."""
        self._used = True

    def used(self, tokens: int) -> None:
        """Give back the tokens that were booked and not used."""
        for gate in self._gates:
            gate.tokens.give_back(max(0, self._tokens - tokens))

    def overloaded(self) -> None:
        """The provider asks for fewer calls at once."""
        for gate in self._gates:
            gate.slots.overloaded()

    def succeeded(self) -> None:
        for gate in self._gates:
            gate.slots.succeeded()

    def leave(self) -> None:
        """Make room for the next."""
        for gate in self._gates[: self._entered]:
            gate.slots.give_back()
        self._entered = 0
        if self._booked and not self._used:
            for gate in self._gates:
                gate.untake(self._tokens)
        self._booked = False
