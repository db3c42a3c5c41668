"""JSON as Python holds it. What stands in an object is known to whoever made it, not to the type checker: here alone is
that said.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""An object that is being written."""

JsonView: TypeAlias = Mapping[str, Any]
"""An object that is only read."""
