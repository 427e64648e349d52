"""Secret-key lengths and rates from published bounds: for planning a link, and for holding numbers against others.

qnoded keyrate --list
qnoded keyrate block --set n_key=5000 k_test=5000 test_errors=100 f_ec=1.1
qnoded keyrate tlgr2012 --set n_key=1e5 k_test=2e4 Q_tol=0.025 f_ec=1.1 eps_sec=1e-10 eps_cor=1e-12 --json
qnoded keyrate --inputs rows.json          every row of a file, with deviations from the row's own terms
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qnoded.stages.key_length.families import Evaluation, Family
    from qnoded.stages.key_length.reference_rows import Comparison

STDIN: Final = "-"
LARGEST_FILE_BYTES: Final = 1 << 24
"""A file of rows has some kilobytes; what is larger was not meant."""

_NAME_WIDTH: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded keyrate``."""
    parser.add_argument("family", metavar="FAMILY", nargs="?", help="short id or full name; --list shows them")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="inputs, values as in JSON"
    )
    parser.add_argument("--inputs", metavar="FILE", help="JSON object of inputs, or rows; - reads stdin")
    parser.add_argument("--list", action="store_true", help="list families with inputs, sources and assumptions")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and return 0; or 1 if a row of a file does not agree with its own terms."""
    import json

    from qnoded.errors import UsageError
    from qnoded.stages.key_length.families import FAMILIES, evaluate, find_family
    from qnoded.stages.key_length.reference_rows import compare_rows

    if args.list:
        families = [find_family(args.family)] if args.family else list(FAMILIES)
        if args.json:
            print(json.dumps([_family_json(family) for family in families], indent=2))
        else:
            print("\n\n".join(_family_text(family) for family in families))
        return 0
    given = _settings(args.set)
    document = {} if args.inputs is None else _load(args.inputs)
    rows = document.get("rows") if isinstance(document, dict) else document
    if rows is not None:
        if given or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            message = "rows are a list of objects, each with family and inputs, and go without --set"
            raise UsageError(message)
        comparisons = compare_rows(rows, args.family)
        if args.json:
            print(json.dumps([_comparison_json(one) for one in comparisons], indent=2, allow_nan=False))
        else:
            print(_comparisons_text(comparisons))
        return 1 if any(one.agrees is False for one in comparisons) else 0
    name = args.family or document.get("family")
    if not isinstance(name, str):
        message = "name a family, or give a file of rows with --inputs; --list shows the families"
        raise UsageError(message)
    inputs = document["inputs"] if isinstance(document.get("inputs"), dict) else document
    evaluation = evaluate(find_family(name), {**inputs, **given})
    if args.json:
        print(json.dumps(_evaluation_json(evaluation), indent=2, allow_nan=False))
    else:
        print(_evaluation_text(evaluation))
    return 0


def _settings(words: list[str]) -> dict[str, Any]:
    """Read ``key=value`` words; a value that is no JSON is taken as a word."""
    import json

    from qnoded.errors import UsageError

    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            message = f"--set {word}: cannot be read; write key=value, and the family before --set"
            raise UsageError(message)
        try:
            settings[key] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key] = value
    return settings


def _load(name: str) -> Any:
    """Read a JSON document from a file or stdin."""
    import json
    from pathlib import Path

    from qnoded.errors import UsageError

    try:
        if name == STDIN:
            text = sys.stdin.read(LARGEST_FILE_BYTES + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(LARGEST_FILE_BYTES + 1)
        if len(text) > LARGEST_FILE_BYTES:
            message = f"{name}: more than {LARGEST_FILE_BYTES >> 20} MiB; give a file of inputs or rows"
            raise UsageError(message)
        document = json.loads(text)
    except OSError as error:
        message = f"{name}: {error.strerror}; give a readable JSON file, or - for stdin"
        raise UsageError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"{name}: not JSON ({error}); give an object of inputs or a list of rows"
        raise UsageError(message) from error
    if not isinstance(document, (dict, list)):
        message = f"{name}: holds neither an object of inputs nor a list of rows"
        raise UsageError(message)
    return document


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    family = evaluation.family
    return {
        "family": family.name,
        "inputs": evaluation.inputs,
        "terms": evaluation.terms,
        "result": family.result,
        "value": evaluation.value,
        "secure_finite": family.secure_finite,
        "assumptions": list(family.assumptions),
        "source": family.source,
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "id": comparison.id,
        **_evaluation_json(comparison.evaluation),
        "result": comparison.result,
        "value": comparison.evaluation.terms[comparison.result],
        "deviations": comparison.deviations,
        "tolerance": comparison.tolerance,
        "agrees": comparison.agrees,
    }


def _family_json(family: Family) -> dict[str, Any]:
    from qnoded.stages.key_length.inputs import all_inputs, required_inputs

    required = required_inputs(family.inputs)
    return {
        "family": family.name,
        "short": family.short,
        "inputs": list(required),
        "optional_inputs": [name for name in all_inputs(family.inputs) if name not in required],
        "result": family.result,
        "secure_finite": family.secure_finite,
        "assumptions": list(family.assumptions),
        "source": family.source,
    }


def _family_text(family: Family) -> str:
    described = _family_json(family)
    lines = [
        f"{family.short}: {family.name}",
        f"  inputs      {', '.join(described['inputs'])}",
        f"  optional    {', '.join(described['optional_inputs'])}",
        f"  result      {family.result} ({_standing(family)})",
        f"  source      {family.source}",
        *(f"  assumes     {assumption}" for assumption in family.assumptions),
    ]
    return "\n".join(line for line in lines if line.strip() != "optional")


def _evaluation_text(evaluation: Evaluation) -> str:
    family = evaluation.family
    return "\n".join(
        [
            family.name,
            *(_line(name, value) for name, value in evaluation.inputs.items()),
            "",
            *(_line(name, value, " <-- result" * (name == family.result)) for name, value in evaluation.terms.items()),
            "",
            f"  {_standing(family)}",
            f"  source: {family.source}",
            *(f"  assumes: {assumption}" for assumption in family.assumptions),
        ]
    )


def _comparisons_text(comparisons: list[Comparison]) -> str:
    verdicts = {True: "agrees", False: "DIFFERS", None: "-"}
    width = max([len(one.id) for one in comparisons], default=0)
    lines = [f"{'row':<{width}}  {'term':<20} {'value':>24} {'deviation':>12} {'tolerance':>10}"]
    for one in comparisons:
        deviation = one.deviations.get(one.result)
        value = one.evaluation.terms[one.result]
        lines.append(
            f"{one.id:<{width}}  {one.result:<20} {_text(value):>24} {_short(deviation):>12} "
            f"{_short(one.tolerance):>10}  {verdicts[one.agrees]}"
        )
    return "\n".join(lines)


def _standing(family: Family) -> str:
    return "a key may rest on it" if family.secure_finite else "never the length of a key"


def _line(name: str, value: object, mark: str = "") -> str:
    return f"  {name:<{_NAME_WIDTH}} {_text(value)}{mark}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return "-" if value is None or value == "" else str(value)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
