"""Reading a TOML file that a person wrote: bounded, and every failure named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from qnoded.errors import ConfigError

LARGEST_FILE_BYTES: Final = 1 << 20
"""What is larger was not written by hand."""
LONGEST_LINE: Final = 60
"""Characters of a line that a message repeats."""

_AT_LINE: Final = re.compile(r"at line (\d+)")


def read_table(path: Path, remedy: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML; ends with ``remedy``.
    """
    try:
        # A named pipe or a terminal would let us wait for ever.
        if path.exists() and not path.is_file():
            raise ConfigError(path, "file", "is no regular file", "give the path of a TOML file")
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
        raise ConfigError(path, "TOML", f"{error}{_line(str(error), content)}", remedy) from None


def _line(problem: str, content: bytes) -> str:
    """Return the line that a parser's message speaks of; nothing if it names none."""
    at = _AT_LINE.search(problem)
    lines = content.decode(errors="replace").splitlines()
    if at is None or int(at[1]) > len(lines):
        return ""
    return f": {lines[int(at[1]) - 1].strip()[:LONGEST_LINE]!r}; texts stand in quotes, numbers do not"
