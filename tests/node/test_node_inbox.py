"""What waits for a script: order of arrival, bounded, whole epochs dropped oldest first."""

from __future__ import annotations

import numpy as np
import pytest

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.exchange.live_messages import Goodbye, RevealedEpoch
from qnoded.exchange.reports import Reason
from qnoded.node.inbox import MOST_BYTES, MOST_ITEMS, Inbox
from qnoded.records import DetectionEpoch
from qnoded.stages.revealing import Coded
from qnoded.testing import virtual_time
from qnoded.units import EPOCH_PS


def epoch(number: int) -> Detected:
    none = np.empty(0, np.uint8), np.empty(0, np.int64)
    return Detected(DetectionEpoch(*none, number * EPOCH_PS, (number + 1) * EPOCH_PS))


def test_epochs_too_many_leave_notes_in_their_places() -> None:
    inbox = Inbox(most_epochs=2)
    message = Goodbye("later")
    for item in (epoch(1), message, epoch(2), epoch(3), epoch(4)):
        inbox.put(item)

    async def all_of_them() -> list[object]:
        return [await inbox.get() for _ in range(len(inbox))]

    lost = [DetectionLost(n * EPOCH_PS, (n + 1) * EPOCH_PS, Reason.OVERLOAD.value) for n in (1, 2)]
    first, second, third, *rest = virtual_time.run(all_of_them())
    assert [first, second, third] == [lost[0], message, lost[1]]
    assert [one.epoch.start_ps // EPOCH_PS for one in rest if isinstance(one, Detected)] == [3, 4]
    assert (inbox.dropped, inbox.epochs) == (2, 0)


def test_a_peer_that_floods_is_refused() -> None:
    inbox = Inbox()
    for _ in range(MOST_ITEMS):
        inbox.put(Goodbye(""))
    with pytest.raises(RemoteProtocolError, match="floods"):
        inbox.put(Goodbye(""))


def test_a_peer_that_fills_the_memory_is_refused_and_what_was_read_counts_no_more() -> None:
    inbox = Inbox()
    none = np.empty(0, np.uint8), np.empty(0, np.int64)
    quarter = Coded(0, none[0], np.zeros(MOST_BYTES // 4, np.uint8), none[1])
    message = RevealedEpoch(1, EPOCH_PS, EPOCH_PS, 128, settling=False, clicks=quarter)

    async def flood() -> None:
        for _ in range(4):
            inbox.put(message)
        with pytest.raises(RemoteProtocolError, match="256 MiB of messages wait unread"):
            inbox.put(message)
        await inbox.get()
        inbox.put(message)
        inbox.leftovers()
        for _ in range(4):
            inbox.put(message)

    virtual_time.run(flood())
