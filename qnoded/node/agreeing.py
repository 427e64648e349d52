"""One session's agreements without photons: the ledgers compared, a first secret where there is none, fresh ones after.

Its messages are in no seal. What they bring is signed; what they show is not, and decides no more than whether this
session goes on: a lie about a ledger ends it, or asks for signatures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from qnoded.errors import LedgersDiffer, PeerSilent
from qnoded.exchange import agreeing
from qnoded.exchange.agreeing import LedgerState
from qnoded.exchange.bootstrapping import FIRST_SECRET, Occasion, Signers
from qnoded.exchange.messages import Message
from qnoded.node.distillation import KeyMaking
from qnoded.node.inbox import Inbox
from qnoded.node.script_runner import ScriptRunner
from qnoded.records import SIDES

PATIENCE_S: Final = 30.0
"""The whole exchange takes milliseconds and some flushes of the disk."""
RENEWAL_S: Final = 3600.0
"""Age at which alice makes a new agreement; one that becomes known later gives nothing of the keys of others."""
RENEWAL_KEYS: Final = 1 << 20
"""Keys made or fetched at alice's end after which she does not wait for that: each end keeps a list of them."""
LOOK_S: Final = 10.0
"""Between two looks at how many there are."""


class Agreeing:
    """One session of it.

    Parameters
    ----------
    keys
        Of the link.
    say
        Sends a message in the conversation about agreements.
    """

    def __init__(self, keys: KeyMaking, say: Callable[[Message], None]) -> None:
        self._keys = keys
        self._is_alice = keys.role == SIDES[0]
        self._ledger = keys.store.ledger(keys.link, keys.role)
        self._inbox = Inbox()
        self._runner = ScriptRunner(self._inbox, keys.pool, keys.progress, say, lambda _: None)
        self._newest = agreeing.NO_AGREEMENT

    def take(self, message: Message) -> None:
        """Take a message of the peer.

        Raises
        ------
        RemoteProtocolError
            If there are too many.
        """
        self._inbox.put(message)

    async def begin(self) -> None:
        """Begin the session: nothing may be sealed before.

        Raises
        ------
        LedgersDiffer
            If the ends have no key in common, and may not make one.
        AuthenticationFailed
            If the peer is not who it should be.
        PeerSilent
            If it does not answer.
        KeyStoreBroken
            If no key could be kept.
        """
        keys = self._keys
        await keys.demand_room()
        before = await asyncio.wrap_future(keys.store.shown(keys.link))
        script = agreeing.begin(keys.role, self._occasion(FIRST_SECRET), self._ledger, keys.signers, os.urandom)
        try:
            async with asyncio.timeout(PATIENCE_S):
                self._newest = await self._runner.run(script)
        except TimeoutError:
            problem = f"the peer did not say within {PATIENCE_S:g} s what key it authenticates with"
            raise PeerSilent(problem) from None
        except LedgersDiffer:
            await asyncio.wrap_future(keys.store.compared(keys.link, equal=False))
            raise
        await asyncio.wrap_future(keys.store.compared(keys.link, equal=True))
        after = await asyncio.wrap_future(keys.store.shown(keys.link))
        if keys.agreed_loop_s is None:
            # A daemon that starts again and again must not push the agreements of a day out of the store.
            age_s = await asyncio.wrap_future(keys.store.agreement_age(keys.link))
            keys.agreed_loop_s = None if age_s is None else asyncio.get_running_loop().time() - age_s
        if after.name != before.name:
            was = f" in place of {before.state.value}" if before.state is not LedgerState.NONE else ""
            keys.tell("info", f"the link begins with a signed exchange{was}: computationally secure until it made key")
            keys.agreed_loop_s = None

    async def run(self) -> None:
        """Renew the agreement at alice's end, answer at bob's, until cancelled; without identities there is none."""
        if self._keys.signers is None:
            return
        while True:
            if not self._is_alice:
                terms = self._keys.terms
                script = agreeing.answer(terms.link, terms.digest(), self._ledger, self._keys.signers, os.urandom)
                await self._runner.run(script)
            elif self._is_due():
                await self._renew(self._keys.signers)
            else:
                await asyncio.sleep(LOOK_S)

    async def _renew(self, signers: Signers) -> None:
        self._newest += 1
        await self._runner.run(agreeing.renew(self._occasion(self._newest), self._ledger, signers, os.urandom))
        self._keys.agreed_loop_s = asyncio.get_running_loop().time()

    def _is_due(self) -> bool:
        last_s, now_s = self._keys.agreed_loop_s, asyncio.get_running_loop().time()
        worn = self._keys.store.agreed_keys(self._keys.link) >= RENEWAL_KEYS
        return last_s is None or worn or now_s >= last_s + RENEWAL_S

    def _occasion(self, number: int) -> Occasion:
        terms = self._keys.terms
        return Occasion(terms.link, terms.digest(), number)
