"""One file read from front to back; what the operating system says against it becomes a named error."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from qnoded.errors import GarbledRecording, TruncatedRecording, UnreadableRecording

GZIP_MAGIC: Final = b"\x1f\x8b"
"""First two bytes of a gzip member, RFC 1952."""


@contextmanager
def readable(path: Path, offset: int | None = None) -> Iterator[None]:
    """Turn errors of the operating system and of gzip into errors of qnoded."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableRecording(path, None, "there is no such file", "check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        kind = TruncatedRecording if isinstance(error, EOFError) else GarbledRecording
        raise kind(path, offset, f"the gzip stream is broken ({error})", "copy or unpack the file again") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise UnreadableRecording(path, offset, problem, "check the file and its permissions") from None


class Source:
    """A regular file, opened for reading; ``unpack`` reads through gzip."""

    def __init__(self, path: Path, *, unpack: bool = False) -> None:
        self.path = path
        with readable(path):
            # Asked before opening: opening a named pipe would wait for its other end.
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise UnreadableRecording(path, None, "is a folder", "name one file inside it")
            if not stat.S_ISREG(mode):
                problem = "is no regular file, so it cannot be read twice"
                raise UnreadableRecording(path, None, problem, "save the stream to a file first")
            self._raw = path.open("rb", buffering=0)
            self.size_bytes = os.fstat(self._raw.fileno()).st_size
        self._file: gzip.GzipFile | io.FileIO = gzip.GzipFile(fileobj=self._raw) if unpack else self._raw
        self.offset = 0

    @property
    def position_bytes(self) -> int:
        """How far the file on disk has been read, bytes."""
        return 0 if self._raw.closed else self._raw.tell()

    def read(self, most: int) -> bytearray:
        """Return the next ``most`` bytes, fewer only at the end; ``offset`` then stands behind them."""
        buffer = bytearray(most)
        got = self.read_into(memoryview(buffer))
        del buffer[got:]
        return buffer

    def read_into(self, buffer: memoryview) -> int:
        """Fill a writable buffer, up to the end of the file; return the number of bytes."""
        got = 0
        with readable(self.path, self.offset):
            while got < len(buffer):
                n = self._file.readinto(buffer[got:])
                if not n:
                    break
                got += n
        self.offset += got
        return got

    def seek(self, offset: int) -> None:
        """Go to a byte of the (unpacked) file."""
        with readable(self.path, offset):
            self._file.seek(offset)
        self.offset = offset

    def close(self) -> None:
        """Close the file; twice is once."""
        self._file.close()
        self._raw.close()
