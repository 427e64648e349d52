"""The guard of all tests does its work: a leaked thread or task fails the test that leaks it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

LEAKS = {
    "thread": """
        import threading
        def test_leak():
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
    "task": """
        import asyncio
        def test_leak():
            loop = asyncio.new_event_loop()
            loop.create_task(asyncio.sleep(3600))
            loop.run_until_complete(asyncio.sleep(0))
        """,
    "nothing": """
        import asyncio
        def test_leak():
            asyncio.run(asyncio.sleep(0))
        """,
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_leak_fails_its_test(pytester: pytest.Pytester, request: pytest.FixtureRequest, what: str) -> None:
    pytester.makeconftest((request.config.rootpath / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(LEAKS[what])
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "ignore")
    if what == "nothing":
        outcome.assert_outcomes(passed=1)
    else:
        outcome.assert_outcomes(passed=1, errors=1)
        outcome.stdout.fnmatch_lines([f"*the test left*{what}*"])
