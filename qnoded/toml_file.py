"""Reading a TOML file that a person wrote: bounded, and every failure named."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from qnoded.errors import ConfigError

LARGEST_FILE_BYTES: Final = 1 << 20
"""What is larger was not written by hand."""


def read_table(path: Path, remedy: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML; ends with ``remedy``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(path, "file", getattr(error, "strerror", None) or str(error), "check the path") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigError(path, "file", f"is larger than {LARGEST_FILE_BYTES} bytes, so no settings file", remedy)
    try:
        return tomllib.loads(content.decode())
    # ValueError also where a number has more digits than Python reads.
    except (ValueError, RecursionError) as error:
        raise ConfigError(path, "TOML", str(error), remedy) from None
