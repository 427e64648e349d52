"""Reading a TOML file that a person wrote: bounded, and every failure named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from qnoded.errors import ConfigError

LARGEST_FILE_BYTES: Final = 1 << 20
"""What is larger was not written by hand."""
_A_SETTING: Final = re.compile(r"(\[+[\w. \"'-]{1,60}\]*|[\w.\"'-]{1,40})\s*(=\s*[^=\s].*)?")
"""What a message may repeat of a line: never what stands behind the ``=``. Who gives the wrong file may give one with a
key in it, whose text must not reach a log; base64 has nothing behind its ``=``."""
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
        # Some editors begin a file with a byte order mark.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is no UTF-8, so no text that TOML allows"
        raise ConfigError(path, "TOML", problem, f"save it as UTF-8; {remedy}") from None
    except RecursionError:
        raise ConfigError(path, "TOML", "its tables or lists are nested too deeply to be settings", remedy) from None
    # ValueError also where a number has more digits than Python reads.
    except ValueError as error:
        raise ConfigError(path, "TOML", f"{error}{_line(str(error), content)}", remedy) from None


def _line(problem: str, content: bytes) -> str:
    """Return the line that a parser's message speaks of; nothing if it names none, or the line is none of settings."""
    at = _AT_LINE.search(problem)
    lines = content.decode(errors="replace").splitlines()
    if at is None or int(at[1]) > len(lines):
        return ""
    line = lines[int(at[1]) - 1].strip()
    setting = _A_SETTING.fullmatch(line)
    if setting is None or not (setting[2] or line.startswith("[")):
        return "; a line of settings is KEY = VALUE or [TABLE]"
    where = f"the value of {setting[1]}" if setting[2] else setting[1]
    return f": {where}; texts stand in quotes, numbers do not"
