"""Print the JSON Schema of a settings file: what editors need to complete and check it while it is written.

qnoded schema node > node.schema.json
"""

from __future__ import annotations

import argparse
from typing import Any, Final

KINDS: Final = ("node", "world", "script", "channels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded schema``."""
    parser.add_argument("kind", choices=KINDS, nargs="?", default="node", help="kind of file (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    import json

    print(json.dumps(schema_of(args.kind), indent=2))
    return 0


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of a kind of settings file."""
    schema = _model_schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"qnoded {kind}"} | {
        key: value for key, value in schema.items() if key != "title"
    }


def _model_schema(kind: str) -> dict[str, Any]:
    if kind == "node":
        from qnoded.node_settings import NodeSettings

        return _sides_as_written(NodeSettings.model_json_schema())
    if kind == "world":
        from qnoded.sim.settings import WorldSettings

        return _detectors_as_written(WorldSettings.model_json_schema())
    if kind == "channels":
        from qnoded.settings import ChannelMap

        return _sides_as_written(ChannelMap.model_json_schema())
    from pydantic import TypeAdapter

    from qnoded.sim.events import Event

    event = TypeAdapter(Event).json_schema()
    definitions = event.pop("$defs", {})
    return {
        "$defs": definitions,
        "type": "object",
        "properties": {"event": {"type": "array", "items": event}},
        "additionalProperties": False,
    }


def _sides_as_written(schema: dict[str, Any]) -> dict[str, Any]:
    """Let detectors stand beside the other keys of a side: the model gathers them into ``channels`` itself."""
    from qnoded.settings import OUTCOMES

    side = schema["$defs"]["SideMap"]
    channels = side["properties"].pop("channels")
    side["properties"] = dict.fromkeys(OUTCOMES, channels["additionalProperties"]) | side["properties"]
    side["required"] = []
    return schema


def _detectors_as_written(schema: dict[str, Any]) -> dict[str, Any]:
    """Let what holds for all four detectors stand beside them: the model spreads it itself."""
    common = schema["$defs"]["DetectorSettings"]["properties"]
    schema["$defs"]["DetectorsSettings"]["properties"] |= common
    return schema
