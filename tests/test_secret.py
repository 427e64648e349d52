"""A secret shows its content to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from qnoded.errors import UsageError
from qnoded.secret import Secret, octets

CANARY = b"canary-in-the-mine"


def traces(text: str) -> bool:
    return "canary" in text or CANARY.hex() in text.lower() or str(list(CANARY))[1:-1] in text


def test_no_text_shows_the_content() -> None:
    secret = Secret(CANARY)
    for text in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{[secret]} { ({'k': secret}) }",
    ):
        assert not traces(text)
        assert "18 bytes" in text


@pytest.mark.parametrize("leak", [pickle.dumps, json.dumps, copy.copy, copy.deepcopy, hash, bytes, iter, vars])
def test_nothing_takes_a_copy_by_the_way(leak) -> None:
    with pytest.raises(TypeError) as caught:
        leak(Secret(CANARY))
    assert not traces("".join(traceback.format_exception(caught.value)))


def test_exceptions_do_not_show_it() -> None:
    with pytest.raises(ValueError, match="not shown") as caught:
        raise ValueError(Secret(CANARY))
    assert not traces("".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()))


def test_equality_and_access() -> None:
    secret = Secret(CANARY)
    assert secret == Secret(CANARY)
    assert secret != Secret(CANARY[:-1])
    assert secret != Secret(CANARY[:-1] + b"x")
    assert secret != CANARY
    assert secret.reveal() == CANARY == bytes(secret.view()) == bytes(octets(secret))
    assert secret.view().readonly
    assert len(secret) == len(CANARY)


def test_a_wiped_secret_is_zero_and_refuses_to_be_used() -> None:
    with Secret(CANARY) as secret:
        view = secret.view()
    secret.wipe()
    assert bytes(view) == bytes(len(CANARY))
    for use in (secret.view, secret.reveal, lambda: secret == Secret(CANARY)):
        with pytest.raises(UsageError, match="was wiped"):
            use()


def test_scattered_bytes_are_refused() -> None:
    with pytest.raises(UsageError, match="one after the other"):
        octets(memoryview(CANARY)[::2])
