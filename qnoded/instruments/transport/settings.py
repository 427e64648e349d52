"""The key that all drivers with a line have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from qnoded.errors import UsageError
from qnoded.instruments.transport.stream import read_address


def _can_be_read(text: str) -> str:
    try:
        read_address(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


AddressText = Annotated[str, AfterValidator(_can_be_read)]
"""``tcp://HOST:PORT``, the path of a serial port, or the name of a VISA resource.

Of serial ports best one below ``/dev/serial/by-id``, whose name does not change."""


class Addressed(BaseModel):
    """Settings of an instrument that is reached at one address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: AddressText
