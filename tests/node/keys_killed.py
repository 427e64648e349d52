"""Two nodes' key stores killed at random moments, in processes of their own, and what they did compared afterwards.

``python keys_killed.py FOLDER SEED KILLS`` forks pairs of processes that commit blocks, hand out keys and seal every
message they send, and kills one or both with SIGKILL once they have got a random way. Each process writes down what it
did, right after it learned that it happened. ``compare`` reads those diaries and both stores.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import signal
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from keys_made import ACCOUNT, BACK, KEK, LINK, PAIR, Ends, ends

from qnoded.errors import KeyNotFound, KeysExhausted
from qnoded.exchange import committing
from qnoded.exchange.authenticating import Opener, Role, Sealer
from qnoded.exchange.effects import Compute, Receive, Send
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.store import KeyStore
from qnoded.secret import Secret

RULES = StoreRules(simulation=True, pool_bytes=2000, most_keys=100_000)
LONGEST_LIFE_BYTES = 3000
"""Of both diaries: the longest life is some commits of blocks, of 1100 bytes each, however slow the machine is."""
LOOK_S = 0.002
LONGEST_AFTER_S = 0.02
"""From there to the kill, so that it comes anywhere between two lines: a commit of four messages and ten flushes of the
disk takes some ten milliseconds."""
BLOCK_BYTES = 2000
NAMES_AGAIN = 8
"""Names of keys that a session tells again: some were fetched before, and must not be given twice."""


class Diary:
    """What one process did, one JSON line each; a kill loses at most the line it was about to write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, *facts: object) -> None:
        os.write(self._file, json.dumps([what, *facts]).encode() + b"\n")


class Talk:
    """Messages over a socket, each sealed with key that was struck off before."""

    def __init__(self, role: Role, line: socket.socket, store: KeyStore, diary: Diary) -> None:
        self._line, self._store, self._diary = line, store, diary
        own = os.urandom(16)
        line.sendall(own)
        theirs = self._exactly(16)
        peer: Role = "bob" if role == "alice" else "alice"
        nonces = own + theirs if role == "alice" else theirs + own
        self.session = hashlib.sha256(nonces).digest()[:16]
        self._role, self._peer, self._opening = role, peer, True
        self._sealer, self._opener = Sealer(role, self.session), Opener(peer, self.session)

    def say(self, message: object) -> None:
        place, keys = self._store.reserve_tag(LINK, opening=self._opening).result()
        self._opening = False
        self._diary.write("sealed", place.hash_first, place.mask_first, place.mask_bytes)
        frames = [bytes(frame) for frame in self._sealer.seal([pickle.dumps(message)], place, keys)]
        content = pickle.dumps(frames)
        self._line.sendall(len(content).to_bytes(4, "big") + content)

    def hear(self) -> Any:
        frames = pickle.loads(self._exactly(int.from_bytes(self._exactly(4), "big")))
        place = self._opener.place(frames)
        (body,) = self._opener.open(frames, self._store.look_up_tag(LINK, place).result())
        self._store.accept_tag(LINK, place).result()
        self._diary.write("accepted", place.mask_first)
        return pickle.loads(bytes(body))

    def play(self, script: Generator[object, Any, Any]) -> Any:
        answer: Any = None
        while True:
            try:
                effect = script.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(effect, Send):
                self.say(effect.message)
            elif isinstance(effect, Receive):
                answer = self.hear()
            elif isinstance(effect, Compute):
                answer = effect.work()

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self._line.recv(count - len(content))
            if not part:
                raise EOFError
            content += part
        return content


def live(role: Role, folder: Path, line: socket.socket) -> None:
    """Be one node until killed, or until the other is."""
    diary = Diary(folder / f"{role}.diary")
    store = KeyStore(folder / f"{role}.sqlite", Secret(KEK), RULES)
    if LINK not in store.links():
        store.enrol(LINK, role, "secret file", Secret(random.Random(1).randbytes(1 << 20))).result()
    try:
        talk = Talk(role, line, store, diary)
        book = store.book(LINK)
        talk.play(committing.recover_alice(book) if role == "alice" else committing.recover_bob(book))
        number = 0
        while True:
            key = hashlib.shake_256(talk.session + number.to_bytes(4, "big")).digest(BLOCK_BYTES)
            if role == "alice":
                talk.play(committing.alice(Secret(key), ACCOUNT, book, os.urandom))
                talk.say(taken(role, store, diary, folder))
                fetched(role, store, diary, talk.hear())
            else:
                talk.play(committing.bob(Secret(key), ACCOUNT, book))
                fetched(role, store, diary, talk.hear())
                talk.say(taken(role, store, diary, folder))
            number += 1
    except (EOFError, ConnectionError):
        store.close()


def taken(role: Role, store: KeyStore, diary: Diary, folder: Path) -> list[UUID]:
    """Take some keys, and name them together with some that were taken before."""
    before = [fact[1] for fact in facts(folder / f"{role}.diary") if fact[0] == "took"][-NAMES_AGAIN:]
    pair = PAIR if role == "alice" else BACK
    names = []
    try:
        for one in store.take(pair, 3, 32).result() + store.take(pair, 1, 80).result():
            diary.write("took", str(one.name), hashlib.sha256(one.key.view()).hexdigest())
            names.append(one.name)
    except KeysExhausted:
        pass
    return [UUID(name) for name in before] + names


def fetched(role: Role, store: KeyStore, diary: Diary, names: list[UUID]) -> None:
    pair = BACK if role == "alice" else PAIR
    waiting = [(name, store.fetch(pair, [name])) for name in names]
    for name, future in waiting:
        try:
            (one,) = future.result()
        except KeyNotFound:
            diary.write("missed", str(name))
        else:
            diary.write("fetched", str(name), hashlib.sha256(one.key.view()).hexdigest())


def facts(path: Path) -> list[list[Any]]:
    """Return the whole lines of a diary."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def written(folder: Path) -> int:
    """Return how many bytes both diaries hold."""
    diaries = [folder / f"{role}.diary" for role in ("alice", "bob")]
    return sum(diary.stat().st_size for diary in diaries if diary.exists())


def kill(folder: Path, seed: int, kills: int) -> None:
    """Let pairs live and die."""
    rng = random.Random(seed)
    committing.key_check(Secret(bytes(100)), bytes(16))  # loads the hash kernel once, for all children
    for _ in range(kills):
        dies_at_bytes = written(folder) + rng.randrange(LONGEST_LIFE_BYTES)
        lines = socket.socketpair()
        children = []
        for role, line, other in (("alice", *lines), ("bob", *lines[::-1])):
            child = os.fork()
            if child == 0:
                other.close()
                try:
                    live("alice" if role == "alice" else "bob", folder, line)
                finally:
                    os._exit(0)
            children.append(child)
        for line in lines:
            line.close()
        while written(folder) < dies_at_bytes:
            time.sleep(LOOK_S)
        time.sleep(rng.uniform(0.0, LONGEST_AFTER_S))
        victims = rng.choice([children[:1], children[1:], children])
        for child in victims:
            os.kill(child, signal.SIGKILL)
        for child in children:
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0


@dataclass(frozen=True)
class Compared:
    """What the diaries and stores of both ends say."""

    mismatched: list[str]
    """Keys of one name with different bytes."""
    delivered_twice: list[str]
    tag_keys_reused: int
    blocks_that_differ: int
    blocks_lost: int
    """PREPARED somewhere and abandoned."""
    blocks: int
    keys: int
    seals: int


def compare(folder: Path) -> Compared:
    """Recover a last time, hand out all that is left, and look for what must never be."""
    with ends(folder, RULES) as both:
        recover_in_memory(both)
        left = [(PAIR, both.alice, both.bob, "alice", "bob"), (BACK, both.bob, both.alice, "bob", "alice")]
        diaries = {role: facts(folder / f"{role}.diary") for role in ("alice", "bob")}
        for pair, master, slave, one, other in left:
            keys = [key for _ in range(master.stock(LINK).own_keys) for key in master.take(pair, 1, 32).result()]
            for key in keys:
                diaries[one].append(["took", str(key.name), hashlib.sha256(key.key.view()).hexdigest()])
            for key in slave.fetch(pair, [key.name for key in keys]).result():
                diaries[other].append(["fetched", str(key.name), hashlib.sha256(key.key.view()).hexdigest()])
    digests: dict[str, set[str]] = {}
    deliveries: Counter[tuple[str, str]] = Counter()
    used: Counter[tuple[str, int]] = Counter()
    for role, diary in diaries.items():
        for what, *rest in diary:
            if what in ("took", "fetched"):
                name, digest = rest
                digests.setdefault(name, set()).add(digest)
                deliveries[role, digest] += 1
            elif what == "sealed":
                _, first, count = rest
                used.update((role, position) for position in range(first, first + count))
            elif what == "accepted":
                used[role + " accepts", rest[0]] += 1
    states = {role: block_states(folder / f"{role}.sqlite") for role in ("alice", "bob")}
    settled = [{name for name, state in states[role].items() if state == "settled"} for role in ("alice", "bob")]
    for role in ("alice", "bob"):
        deliveries.update(handed_out(folder / f"{role}.sqlite"))
    return Compared(
        mismatched=[name for name, found in digests.items() if len(found) > 1],
        delivered_twice=[str(key) for key, count in deliveries.items() if count > 1],
        tag_keys_reused=sum(count > 1 for count in used.values()),
        blocks_that_differ=len(settled[0] ^ settled[1]),
        blocks_lost=sum(state == "abandoned" for role in states.values() for state in role.values()),
        blocks=len(settled[0] & settled[1]),
        keys=len(digests),
        seals=sum(what == "sealed" for diary in diaries.values() for what, *_ in diary),
    )


def recover_in_memory(both: Ends) -> None:
    from qnoded.exchange.in_memory import run_both

    run_both(committing.recover_alice(both.alice.book(LINK)), committing.recover_bob(both.bob.book(LINK)))


def block_states(path: Path) -> dict[bytes, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, state FROM block WHERE allotment NOT NULL").fetchall())


def handed_out(path: Path) -> list[tuple[str, str]]:
    """Return what the store itself noted, one entry for each time it handed a stored key out."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            (path.name, f"{side} {master} {first + k}")
            for side, master, first, keys, size in connection.execute(
                "SELECT side, master, first_serial, keys, key_bytes FROM handed"
            )
            for k in range(keys * -(-size // 32))
        ]


if __name__ == "__main__":
    kill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
