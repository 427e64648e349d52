"""The way to an instrument: bytes over TCP or a serial port, owned by one line, one question at a time.

``stream`` carries bytes and knows no protocol. ``turns`` is the queue in front of an instrument: stops go first, then
commands, then polls. ``line`` is what a driver holds: it opens, asks with a deadline, and finds back into step when an
answer was late, lost or nonsense. ``visa`` is the same for instruments that are reached through VISA.

No instrument of this kind numbers its answers, so three habits keep an answer with its question:

- What has arrived before a question is thrown away; it can only belong to an earlier one.
- After a time-out, nonsense or a cancelled question the line is *out of step*: it is drained and asked something whose
  answer is known, and given up if that fails.
- A driver never asks the same question twice in a row, and checks each answer by a shape that the neighbouring
  question's answer has not; where the link has no checksum, what was read counts once two looks agree
  (``line.confirmed``).
"""

from qnoded.instruments.transport.line import STOP_S, Decoder, Line, Talk, confirmed
from qnoded.instruments.transport.settings import Addressed, AddressText
from qnoded.instruments.transport.stream import Address, SerialPort, read_address
from qnoded.instruments.transport.turns import Lane, Turns

__all__ = [
    "STOP_S",
    "Address",
    "AddressText",
    "Addressed",
    "Decoder",
    "Lane",
    "Line",
    "SerialPort",
    "Talk",
    "Turns",
    "confirmed",
    "read_address",
]
