"""Every exception of qnoded on one page, named by whose fault it is and what to do about it.

A poor QBER, too few counts or a lost lock is not an exception: it is a result with a reason and numbers.
The command line turns each class into its exit code (``exit_code``) and one message, never a trace.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class QnodedError(Exception):
    """Something that the person at the keyboard can act upon; the message says how."""

    exit_code: ClassVar[int] = 2


class UsageError(QnodedError):
    """The command was called with words that do not go together."""


class ConfigError(QnodedError):
    """A settings file or a ``--set`` holds a value that cannot be used."""

    def __init__(self, where: str | Path, key: str, problem: str, remedy: str) -> None:
        self.where, self.key, self.problem, self.remedy = str(where), key, problem, remedy
        super().__init__(f"{where}: {key}: {problem}; {remedy}")


class DependencyMissing(QnodedError):
    """An optional library that this work needs is not installed."""

    def __init__(self, what: str, package: str, remedy: str) -> None:
        self.what, self.package, self.remedy = what, package, remedy
        super().__init__(f"{what} needs {package}, which is not installed; {remedy}")


class FormatError(QnodedError):
    """A recording does not hold what its format promises."""

    def __init__(self, path: str | Path, offset: int | None, problem: str, remedy: str) -> None:
        self.path, self.offset, self.problem, self.remedy = str(path), offset, problem, remedy
        place = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{path}{place}: {problem}; {remedy}")


class UnknownFormat(FormatError):
    """No known format recognises the file."""


class TruncatedRecording(FormatError):
    """The file ends in the middle of a record or before the end that its header announces."""


class GarbledRecording(FormatError):
    """A record or header field holds a value that the format does not allow."""


class DisorderedTags(FormatError):
    """Tags run backwards by more than the repair window."""


class UnreadableRecording(FormatError):
    """The file is missing, is a folder, or the operating system does not let it be read."""


class ProtocolError(QnodedError):
    """The conversation of the two ends went wrong; nothing of the block in work is kept."""

    exit_code: ClassVar[int] = 3


class LocalProtocolError(ProtocolError):
    """The end here was about to break the protocol: a mistake in qnoded or in how it is called."""


class RemoteProtocolError(ProtocolError):
    """The other end broke the protocol, or what arrived is not what it sent."""


class PeerSilent(ProtocolError):
    """Nothing arrived from the other end within the time that was allowed."""
