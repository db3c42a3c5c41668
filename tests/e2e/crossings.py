"""Places in the product at which a process can be killed, without a word of it in the product.

A crossing is written `module:Class.method[Word] before|after N`: the N-th time the method is called with an argument
whose class is Word, or with any argument, the process kills itself before the call, or after it has returned.
"""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce, wraps
from importlib import import_module
from typing import Any

_WRITTEN = re.compile(
    r"(?P<module>[\w.]+):(?P<path>[\w.]+)(?:\[(?P<word>\w+)\])? (?P<when>before|after) (?P<count>\d+)"
)


@dataclass(kw_only=True)
class Crossing:
    module: str
    path: str
    word: str | None
    when: str
    left: int

    def met(self, arguments: tuple[object, ...], when: str) -> None:
        """Count a call; die at the last one."""
        if when == self.when and (self.word is None or self.word in set(_words(arguments))):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)


def _words(arguments: tuple[object, ...]) -> Iterator[str]:
    for argument in arguments:
        yield type(argument).__name__
        yield type(getattr(argument, "happening", None)).__name__


def arm(written: str) -> None:
    """Wrap the method. An empty text wraps nothing."""
    if not written:
        return
    found = _WRITTEN.fullmatch(written)
    assert found is not None, written
    crossing = Crossing(
        module=found["module"],
        path=found["path"],
        word=found["word"],
        when=found["when"],
        left=int(found["count"]),
    )
    *owners, name = crossing.path.split(".")
    owner = reduce(getattr, owners, import_module(crossing.module))
    setattr(owner, name, _wrapped(getattr(owner, name), crossing))


def _wrapped(method: Callable[..., Any], crossing: Crossing) -> Callable[..., Any]:
    @wraps(method)
    async def waits(*arguments: Any, **named: Any) -> Any:
        crossing.met(arguments, "before")
        result = await method(*arguments, **named)
        crossing.met(arguments, "after")
        return result

    @wraps(method)
    def returns(*arguments: Any, **named: Any) -> Any:
        crossing.met(arguments, "before")
        result = method(*arguments, **named)
        crossing.met(arguments, "after")
        return result

    return waits if asyncio.iscoroutinefunction(method) else returns
