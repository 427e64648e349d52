"""Snapshots of a node, well and not, for the pages that show them."""

from __future__ import annotations

from qnoded.node.status import (
    ChshStatus,
    ClockStatus,
    Event,
    InstrumentStatus,
    KeysStatus,
    LinkStatus,
    NodeState,
    NodeStatus,
    Rates,
    Share,
)


def well() -> NodeStatus:
    """A node that sifts."""
    return NodeStatus(
        node=NodeState("alice", "0.1.0", True, "running", "2026-11-21T09:14:05Z", 8075.2, 0.004),
        instruments={
            "tagger": InstrumentStatus(
                "sim-tagger",
                "READY",
                simulated=True,
                identity="qnoded simulated tagger, serial alice-1",
                reading={"running": True, "overflows": 0, "reference_locked": None},
                reading_age_s=0.4,
            ),
            "laser": InstrumentStatus(
                "sim-laser",
                "READY",
                simulated=True,
                reading={
                    "emitting": True,
                    "power_dbm": {"requested": 0.0, "accepted": 0.0, "read_back": 0.0, "read_loop_s": 1.0},
                    "temperature_c": 25.01,
                    "interlock_closed": True,
                },
                reading_age_s=0.4,
            ),
        },
        links={
            "bob": LinkStatus(
                role="alice",
                peer="bob",
                state="SIFTING",
                since_s=731.0,
                session="3f2a9c01",
                clock=ClockStatus(True, 300_048_971_204_511, 2.3117e-6, 96.4, 0.6),
                rates=Rates(182_310.0, 95_120.0, 4210.0, 2051.0),
                qber={
                    "HV": Share(0.0132, 0.0121, 0.0144),
                    "DA": Share(0.018, 0.0167, 0.0194),
                    "total": Share(0.0156, 0.0147, 0.0165),
                },
                chsh=ChshStatus(2.712, 0.021, 1234),
                sifted_bits=1_498_225,
                epochs=1330,
                discards={"NO_LOCK": 4, "SETTLING": 8, "LATE": 0},
                bits_per_detection=16.83,
                blocks=14,
                peer_age_s=0.3,
                keys=KeysStatus(412, 380, 256, False, 14, 702_114, {"QBER_LIMIT": 1}, (4096, 4088)),
            )
        },
        events=(
            Event(17, "2026-11-21T11:15:40.103Z", "info", "link bob", "clock locked after 4.1 s of data"),
            Event(18, "2026-11-21T11:15:41.870Z", "warning", "tagger", "overflow: 0.12 s of tags lost"),
        ),
    )


def troubled() -> NodeStatus:
    """A node whose laser is away and whose peer is configured differently."""
    good = well()
    return NodeStatus(
        node=good.node,
        instruments=good.instruments
        | {
            "laser": InstrumentStatus(
                "koheron-ctl101",
                "ABSENT",
                problem="no answer from tcp://192.0.2.9:36000 within 5 s",
                retry_in_s=7.6,
            )
        },
        links={
            "bob": LinkStatus(
                role="alice",
                peer="bob",
                state="MISMATCH",
                since_s=42.0,
                reason="the link's terms differ in window_ps: 1000 here, 1500 at the peer",
                peer_age_s=2.2,
                refused_keys=3,
            )
        },
    )
