"""A recording of any known format to npz, Parquet or text, in bounded memory.

qnoded convert tags.ptu tags.npz
qnoded convert tags.txt.gz tags.parquet --tick-ps 625/8 --columns channel,time
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnoded.units import PS_PER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qnoded.formats import Recording

CHANNELS: Final = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded convert``."""
    parser.add_argument("source", metavar="IN", type=Path, help="recording of any known format")
    parser.add_argument("target", metavar="OUT", type=Path, help="file to write; replaced when all is read")
    parser.add_argument(
        "--format", metavar="F", help="format of IN, where its content does not tell (see docs/formats.md)"
    )
    parser.add_argument("--to", choices=("npz", "parquet", "text"), help="format of OUT; else its suffix decides")
    parser.add_argument("--tick-ps", metavar="R", help="time unit of IN in ps where it does not know it, such as 625/8")
    parser.add_argument("--columns", metavar="C", help="columns of text, such as channel,time or time_s,-,channel")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def run(args: argparse.Namespace) -> int:
    """Convert; print what was read."""
    import numpy as np

    from qnoded.cli.progress import Progress
    from qnoded.errors import UsageError
    from qnoded.formats import RecordingWriter, open_recording
    from qnoded.units import tick

    if args.target.exists() and args.source.exists() and args.target.samefile(args.source):
        problem = f"{args.target} is the recording itself; write to another file"
        raise UsageError(problem)
    tick_ps = tick(args.tick_ps) if args.tick_ps is not None else None
    counts = np.zeros(CHANNELS, np.int64)
    span: list[int] = []
    with open_recording(args.source, format=args.format, tick_ps=tick_ps, columns=args.columns) as recording:
        info = recording.info
        with (
            Progress() as progress,
            RecordingWriter(
                args.target,
                format=args.to,
                angles_deg=info.angles_deg,
                channels=info.channels,
                simulated=info.simulated,
                notes=(*info.notes, f"converted from {info.format} {args.source.name}"),
                tick_ps=info.tick_ps,
            ) as writer,
        ):
            for block in recording.blocks():
                counts += np.bincount(block.channel, minlength=CHANNELS)
                if len(block):
                    span = [span[0] if span else int(block.tag_ps[0]), int(block.tag_ps[-1])]
                writer.write(block)
                progress(recording.position_bytes / recording.size_bytes, f"converting {args.source.name}")
        summary = _summary(recording, counts, span)
    summary |= {"output": str(args.target), "output_format": writer.format}
    if args.json:
        import json

        print(json.dumps(summary, indent=2))
    else:
        print(_sentences(summary))
    return 0


def _summary(recording: Recording, counts: NDArray[np.int64], span: list[int]) -> dict[str, Any]:
    """Return what was read, ready for JSON."""
    info, report = recording.info, recording.report
    return {
        "input": info.path,
        "format": info.format,
        "tick_ps": str(info.tick_ps),
        "notes": list(info.notes),
        "simulated": info.simulated,
        "records": report.records,
        "tags": report.tags,
        "tags_per_channel": {str(c): int(n) for c, n in enumerate(counts) if n},
        "start_ps": span[0] if span else None,
        "duration_s": (span[1] - span[0]) / PS_PER_S if span else 0.0,
        "rollovers": report.rollovers,
        "gaps": [[gap.start_ps, gap.stop_ps, gap.lost_tags, gap.reason] for gap in report.gaps],
        "disordered": report.disordered,
        "disorder_ps": report.disorder_ps,
    }


def _sentences(summary: dict[str, Any]) -> str:
    """Return the summary as a person would want to read it."""
    channels = ", ".join(f"{channel}: {n:,}" for channel, n in summary["tags_per_channel"].items())
    lines = [
        f"{summary['input']} ({summary['format']}, tick {summary['tick_ps']} ps) -> {summary['output']} "
        f"({summary['output_format']})",
        f"{summary['tags']:,} tags in {summary['duration_s']:.6g} s from {summary['records']:,} records",
        f"per channel  {channels or 'none'}",
        *(f"note         {note}" for note in summary["notes"]),
    ]
    if summary["rollovers"]:
        lines.append(f"roll-overs   {summary['rollovers']:,}, unwrapped")
    if summary["disordered"]:
        lines.append(
            f"disorder     {summary['disordered']:,} tags put back in order, at most {summary['disorder_ps']:,} ps"
        )
    if summary["gaps"]:
        lost = sum(gap[2] or 0 for gap in summary["gaps"])
        lines.append(f"gaps         {len(summary['gaps']):,}, {lost:,} tags known to be lost; kept as gaps")
    return "\n".join(lines)
