"""Simulated models in this process: for demonstrations, tests and trying out caps and faults without a provider.

A model's name carries its settings: `sim/fast`, `sim/slow?first_ms=5000&tokens=60&seed=7`,
`sim/any?fault=rate_limited&times=2`. Before the `?` stands a preset, after it what differs from the preset.

For the registry:

- `parse(model)` gives the `SimModel` of a name, with or without its `sim/`. It raises `ModelNotFound` for an unknown
  preset and `InvalidField` for an unknown or absurd setting; both list what there is.
- `presets()` gives the presets, each with a name and one line about it, for lists of models.
- `settings()` gives the settings a name may carry, each with one line about it, for help texts.
- `price(model)` gives the `Price` of a name: 0 unless it says `price_in` or `price_out`.
- `SimTransport()` answers for all of them; one instance a server, since it counts the calls that `times` is about.

Everything a transport of the kind SIM produces is simulated, and the caller marks it so; nothing here claims more.
"""

from whet_server.llm.sim.judge import Bias
from whet_server.llm.sim.model import Fault, Preset, Setting, SimModel, Stance, parse, presets, price, settings
from whet_server.llm.sim.transport import SimTransport

__all__ = [
    "Bias",
    "Fault",
    "Preset",
    "Setting",
    "SimModel",
    "SimTransport",
    "Stance",
    "parse",
    "presets",
    "price",
    "settings",
]
