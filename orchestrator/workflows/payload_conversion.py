"""How values become payloads: one converter for the whole process."""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter

_the_one = PydanticPayloadConverter()


class SharedPayloadConverter(CompositePayloadConverter):
    """Pydantic's converter, of which all instances share the parts.

    The SDK makes a converter anew for every workflow and activity (thirteen for one execution of one step), and each
    one would find out anew how every type is validated.
    """

    def __init__(self) -> None:
        """Take the parts of the one."""
        super().__init__(*_the_one.converters.values())
