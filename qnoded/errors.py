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


class TermsMismatch(ProtocolError):
    """The two ends of a link are configured differently; the link stays down until one of them is changed."""

    def __init__(self, field: str, mine: object, theirs: object, place: str = "") -> None:
        self.field, self.mine, self.theirs = field, mine, theirs
        where = f" ({place})" if place else ""
        super().__init__(
            f"the link's terms differ in {field}{where}: {mine!r} here, {theirs!r} at the peer; make both configs say "
            "the same"
        )


class LedgersDiffer(ProtocolError):
    """The two ends of a link do not authenticate with the same key; the link waits until a person has decided."""

    def __init__(self, mine: str, theirs: str, remedy: str) -> None:
        super().__init__(f"the ends share no key to authenticate with: {mine} here, {theirs} at the peer; {remedy}")


class PeerSilent(ProtocolError):
    """Nothing arrived from the other end within the time that was allowed."""


class InstrumentError(QnodedError):
    """An instrument did not do what it was asked; the node goes on without it and keeps trying."""

    exit_code: ClassVar[int] = 3


class InstrumentUnavailable(InstrumentError):
    """Not there: no port, no connection, no answer within the deadline, or a vendor library is missing."""


class InstrumentFault(InstrumentError):
    """It answered, and said that it cannot: over temperature, interlock open, value refused."""


class InstrumentGarbled(InstrumentError):
    """What it sent is no answer of its protocol; the connection is resynchronized before it is used again."""


class DriverBroken(InstrumentError):
    """A driver broke the rules of its protocol: a mistake for its author, found by the contract suite."""


class DriverStuck(DriverBroken):
    """A driver's call neither ended in time nor when it was cancelled; it is left alone until a person intervenes."""


class EmissionRefused(InstrumentError):
    """A laser was asked to emit without a permit that covers it."""


class AuthenticationFailed(RemoteProtocolError):
    """What arrived is not what the peer sent, or comes again; the link stops until somebody has looked."""


class KeyStoreError(QnodedError):
    """The key store cannot do what it was asked; nothing was handed out."""

    exit_code: ClassVar[int] = 3


class KeyStoreBroken(KeyStoreError):
    """The disk failed, or the file is not what the store wrote; the store refuses everything until it is repaired."""


class KeysExhausted(KeyStoreError):
    """There are fewer keys, or bytes to authenticate with, than were asked for; more come with the next blocks."""


class KeysWithheld(KeyStoreError):
    """Nobody knows that the peer still has a link's keys: none is handed out until both ends agree on a ledger."""


class KeyNotFound(KeyStoreError):
    """No such key waits here: never made, handed out before, or expired."""


class KeyNotForCaller(KeyStoreError):
    """The key was made for somebody else."""


class DaemonUnavailable(QnodedError):
    """The daemon of this node is not running, does not answer, or could not do what it was asked."""

    exit_code: ClassVar[int] = 3


class RequestRefused(QnodedError):
    """An application asked for keys in a way that the interface does not allow, or for what is not its own."""

    def __init__(self, message: str, *details: tuple[str, str], status: int = 400) -> None:
        self.details, self.status = details, status
        super().__init__(message)


class DeliveryUnavailable(QnodedError):
    """The key delivery of a node does not answer, or has no key to give now."""

    exit_code: ClassVar[int] = 3
