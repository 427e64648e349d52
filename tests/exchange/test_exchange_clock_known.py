"""A lock of an earlier session is where the search begins, if the hosts' clocks agree with it as it would be now."""

from __future__ import annotations

import pytest

from qnoded.exchange.clock_search import ClockSearch
from qnoded.exchange.happenings import KnownClock
from qnoded.exchange.terms import LinkTerms
from qnoded.records import ClockModel
from qnoded.stages.synchronization.clock_state import start

TERMS = LinkTerms("alice-bob", True, ("H", "V", "D", "A"), ("H", "V", "D", "A"))
TWO_DAYS_PS = 2 * 86_400 * 10**12
FREQUENCY_ERROR = 4e-6
MOVED_PS = round(FREQUENCY_ERROR * TWO_DAYS_PS)
"""0.69 s: more than ``search_offset_ps``."""
STATE = start(ClockModel(0, 0, FREQUENCY_ERROR, 12.5, 1e-12), 87.5, 31_000.0)


@pytest.mark.parametrize(("hosts_ps", "near"), [(MOVED_PS, True), (0, False)])
def test_what_two_days_did_to_a_clock_is_no_contradiction(hosts_ps: int, near: bool) -> None:
    assert TERMS.search_offset_ps < MOVED_PS
    search = ClockSearch(TERMS, KnownClock(STATE, same_streams=True, offset_ps=hosts_ps))
    where, wide = search.where(TWO_DAYS_PS)
    assert wide is not near
    assert where.offset_ps == hosts_ps
    low_ps, high_ps = search.reach(TWO_DAYS_PS)
    assert low_ps < hosts_ps < high_ps
