"""A session between two stores: what is said arrives, what is tampered with halts the link for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from keys_made import LINK, Ends, ends

from qnoded.errors import AuthenticationFailed, ConfigError
from qnoded.node.keys.opening import enrol_with_file, open_store
from qnoded.node.keys.sealed_talk import SealedTalk
from qnoded.node.keys.secret_files import new_secret
from qnoded.node_settings.keys import KeysSettings

SESSION = bytes(range(16))

Script = Callable[[Ends, SealedTalk, SealedTalk], Awaitable[None]]


def talk(folder: Path, script: Script, session: bytes = SESSION) -> None:
    async def run() -> None:
        with ends(folder) as both:
            alice, bob = SealedTalk(both.alice, LINK, "alice", session), SealedTalk(both.bob, LINK, "bob", session)
            assert await bob.open(await alice.seal()) == []
            assert await alice.open(await bob.seal()) == []
            await script(both, alice, bob)

    asyncio.run(run())


def test_both_directions_at_once_arrive_in_order(tmp_path: Path) -> None:
    async def script(both: Ends, alice: SealedTalk, bob: SealedTalk) -> None:
        sealed = await asyncio.gather(*(alice.seal([bytes([k])]) for k in range(20)))
        assert [await bob.open(frames) for frames in sealed] == [[bytes([k])] for k in range(20)]
        bob.absorb_sent([b"soon", b"vouched for"])
        await alice.absorb_received([b"soon", b"vouched for"])
        assert await alice.open(await bob.seal([b"now"])) == [b"now"]

    talk(tmp_path, script)


def test_a_forgery_halts_the_link_beyond_a_restart(tmp_path: Path) -> None:
    async def forge(both: Ends, alice: SealedTalk, bob: SealedTalk) -> None:
        frames = await alice.seal([b"truth"])
        with pytest.raises(AuthenticationFailed):
            await bob.open([b"lie", *frames[1:]])
        with pytest.raises(AuthenticationFailed):
            await bob.seal()

    talk(tmp_path, forge)

    async def again() -> None:
        with ends(tmp_path) as both:
            assert (await asyncio.wrap_future(both.bob.pool_levels(LINK))).halted
            with pytest.raises(AuthenticationFailed, match="enrol the link anew"):
                await SealedTalk(both.bob, LINK, "bob", bytes(16)).seal()

    asyncio.run(again())


def test_frames_where_none_may_be_halt_the_link(tmp_path: Path) -> None:
    async def run() -> None:
        with ends(tmp_path) as both:
            with pytest.raises(AuthenticationFailed, match="first seal"):
                await SealedTalk(both.bob, LINK, "bob", SESSION).absorb_received([b"x"])
            assert (await asyncio.wrap_future(both.bob.pool_levels(LINK))).halted

    asyncio.run(run())


def test_a_store_is_opened_and_a_link_enrolled_as_the_settings_say(tmp_path: Path) -> None:
    new_secret(tmp_path / "kek", 32)
    new_secret(tmp_path / "first", 2000)
    settings = KeysSettings.model_validate({"kek": str(tmp_path / "kek"), "stored_key_bits": 128, "low_keys": 7})
    store = open_store(settings, tmp_path, simulation=True)
    try:
        assert (store.rules.simulation, store.rules.key_bytes, store.rules.low_keys) == (True, 16, 7)
        enrol_with_file(store, LINK, "bob", tmp_path / "first").result()
        assert store.links() == (LINK,)
        with pytest.raises(ConfigError, match="used before"):
            enrol_with_file(store, LINK, "bob", tmp_path / "first").result()
    finally:
        store.close()
