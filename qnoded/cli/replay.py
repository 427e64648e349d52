"""Walk through the recorded story of a link again, and see whether today's code would act as the recorded one did.

A link writes a story of what happened, was said and was asked for when a session ends by a fault: without secrets, in
its folder of the node's state_dir. Given that folder, its newest story is taken. Exit code 1 if today's lifecycle goes
another way; the first step where it does is named, and nothing behind it is shown.

  qnoded replay /var/lib/qnoded/alice/bob
  qnoded replay story-20261121T091405.123456.jsonl --until 12.5
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qnoded.node.replaying import Step
    from qnoded.node.story_file import RecordedStory

LONGEST_LINE: Final = 120
_HIDDEN: Final = ("loop_s", "what", "number", "record", "problem")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded replay``."""
    parser.add_argument("story", metavar="DIR", type=Path, help="a link's folder, or one story of it")
    parser.add_argument(
        "--until", metavar="TIME", type=float, help="stop so many seconds after the story began, as its first column"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    """Show every step; return 1 if one differs."""
    import json
    import math

    from qnoded.errors import UsageError
    from qnoded.node.replaying import replay
    from qnoded.node.story_file import find_story, read_story

    if args.until is not None and not (math.isfinite(args.until) and args.until >= 0.0):
        problem = f"--until {args.until} is no time; give seconds after the beginning of the story, such as 12.5"
        raise UsageError(problem)
    story = read_story(find_story(args.story))
    until_s = math.inf if args.until is None else args.until
    shown = [entry for entry in story.entries if _since_s(story, entry) <= until_s]
    steps = [step for step in replay(story) if step.number <= len(shown)]
    different = steps[-1] if steps and steps[-1].differs else None
    if different is not None:
        shown = shown[: different.number]
    if args.json:
        print(json.dumps(_document(story, shown, steps, different)))
    else:
        _print(story, shown, steps, different)
    return 0 if different is None else 1


def _print(story: RecordedStory, shown: list[Mapping[str, Any]], steps: list[Step], different: Step | None) -> None:
    print(f"{story.path}: link {_clean(story.link)}, written by {_clean(story.software)}")
    print(f"{'seconds':>10}  from {story.began:%Y-%m-%d %H:%M:%S.%f} UTC on, the link being {story.before}")
    by_number = {step.number: step for step in steps}
    for number, entry in enumerate(shown, 1):
        words = _step(by_number[number], entry) if number in by_number else _words(entry)
        line = f"{_since_s(story, entry):10.3f}  {entry['what']:<9} {words}"
        print(_clean(line)[:LONGEST_LINE])
    if different is None:
        print(f"{len(steps)} events, {len(shown)} of {len(story.entries)} entries: today's code acts the same")
        return
    today = f"goes to {different.today}" if different.today else "does not know that, or not then"
    print(f"entry {different.number} is the first that differs: in {different.before} came {_clean(different.event)},")
    print(f"the recorded code went to {_clean(different.recorded)}, today's code {today}")


def _document(
    story: RecordedStory, shown: list[Mapping[str, Any]], steps: list[Step], different: Step | None
) -> dict[str, Any]:
    return {
        "story": str(story.path),
        "link": story.link,
        "software": story.software,
        "began_utc": story.began.isoformat(),
        "before": story.before,
        "entries": [{"seconds": round(_since_s(story, entry), 6), **entry} for entry in shown],
        "steps": [_told(step) for step in steps],
        "different": None if different is None else _told(different),
    }


def _told(step: Step) -> dict[str, Any]:
    return {
        "entry": step.number,
        "event": step.event,
        "before": step.before,
        "recorded": step.recorded,
        "today": step.today,
    }


def _since_s(story: RecordedStory, entry: Mapping[str, Any]) -> float:
    return float(entry["loop_s"] - story.entries[0]["loop_s"])


def _step(step: Step, entry: Mapping[str, Any]) -> str:
    """Return an event in words; one that changes nothing says only that it came."""
    moved = f" -> {step.recorded}" if step.recorded != step.before else ""
    today = f" (today: {step.today or 'impossible'})" if step.differs else ""
    return f"{step.before}{moved} by {step.event}{today}" + (f": {entry['reason']}" if entry["reason"] else "")


def _words(entry: Mapping[str, Any]) -> str:
    """Return what was said or reported: its kind, and its fields as far as they fit."""
    told = entry.get("message", entry.get("report", entry))
    if not isinstance(told, dict):
        return str(told)
    fields = [f"{name} {_value(value)}" for name, value in told.items() if name not in _HIDDEN]
    kind = [str(told["record"])] if "record" in told else []
    unsent = [f"NOT SENT: {entry['problem']}"] if entry.get("problem") else []
    return ", ".join([*unsent, *kind, *fields])


def _value(value: object) -> str:
    return str(value.get("record", "...")) if isinstance(value, dict) else str(value)


def _clean(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
