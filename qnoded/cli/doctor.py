"""Look at this machine before a run: one line each, ok, warn or ACTION, with numbers and what to do.

  qnoded doctor
  sudo -u qnoded qnoded doctor --config /etc/qnoded/alice.toml

Without --config the machine alone: Python, compiled kernels, clock, processor, memory, limits, the service. With it
also the node's disk, keys, certificates, drivers, ports and peers. Takes less than 3 s, writes nothing, and opens no
instrument. What is wrong with the file itself is told by qnoded check.

Exit codes: 0 no ACTION, 1 an ACTION on this machine, 2 the file cannot be used, 3 only instruments or peers missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnoded.diagnosis.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded doctor``."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="TOML file of a node")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Look, print each finding as soon as it is there, and tell by the exit code whether somebody has to act."""
    import json
    from dataclasses import asdict

    from qnoded.diagnosis.examining import examine
    from qnoded.diagnosis.finding import Level, exit_code
    from qnoded.node_settings import load_node

    settings = None if args.config is None else load_node(args.config)
    findings = []
    for finding in examine(settings, str(args.config or "")):
        findings.append(finding)
        if not args.json:
            print(_line(finding), flush=True)
    counts = {level.value: sum(one.level is level for one in findings) for level in Level}
    if args.json:
        print(json.dumps({"counts": counts, "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        print(", ".join(f"{number} {level}" for level, number in counts.items()))
    return exit_code(findings)


def _line(finding: Finding) -> str:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.level:6}  {finding.subject}: {finding.said}{remedy}"
