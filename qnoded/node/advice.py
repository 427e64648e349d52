"""What to do about a state: one line for the person in front of the rack.

Pure: from the numbers of a snapshot to words. A state that heals by itself says so and when to begin to worry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qnoded.node.status import GOODBYE, NO_KEY_QBER, InstrumentStatus, LinkStatus, NodeStatus

DARK_HZ: Final = 50.0
"""Fewer clicks than the dark counts of any set of four detectors: the tagger hears nothing."""
LONG_SEARCH_S: Final = 60.0
"""A search for the clock that lasts longer finds no pairs."""
LONG_GREETING_S: Final = 10.0
"""Ten greetings without an agreement."""
LONG_WITHOUT_EPOCH_S: Final = 5.0
"""Nine epochs in a row that gave nothing."""
MUCH_OVERLOAD: Final = 0.02
"""Share of epochs dropped under overload from which the machine is too slow for the rate."""
MANY_BLOCKS: Final = 3
"""Without a key among them it is no accident."""

_OF_LINK: Final = {
    "ABSENT": "the peer is not heard: is its daemon running, and can the two machines reach each other's link address?",
    "GREETING": "nothing to do: the two ends are agreeing on a session",
    "MISMATCH": "make the named field equal in both ends' files, in [links.*.terms] if no other place is named, and "
    "restart the end that was changed",
    "REFUSED": "the keys do not fit: copy each end's .key file to the other end and name it as peer_key there",
    "ACQUIRING": "nothing to do: the peer's clock is being searched for, which takes some seconds of pairs",
    "SIFTING": "",
    "INTERLUDE": "nothing to do: a CHSH interlude is running, key continues by itself",
    "RELOCKING": "nothing to do: the clock is being searched for near where it was lost",
    "PAUSED": "paused by the operator; go on with: qnodectl resume LINK",
    "STOPPED": "find out why; if it was halted or its key is used up: qnodectl enrol LINK at both ends (docs/keys.md); "
    "else mend it and restart the daemon",
}
_DECIDED_BY_PEOPLE: Final = frozenset({"MISMATCH", "REFUSED", "PAUSED", "STOPPED"})
"""Whatever else is wrong with the link, this comes first."""
_OF_INSTRUMENT: Final = {
    "ABSENT": "check power, cable and the address in the config; it is tried again by itself",
    "CONNECTING": "",
    "IDENTIFYING": "",
    "CONFIGURING": "",
    "READY": "",
    "DEGRADED": "it answers, but not always: check the cable and what else uses its bus",
    "FAULTED": "look at the instrument itself: it reports a fault; it is tried again by itself",
    "QUARANTINED": "another instrument than expected, or one that does not return: check, then qnodectl device swap",
    "SAFING": "",
    "CLOSED": "",
}


def advised(status: NodeStatus) -> NodeStatus:
    """Return the snapshot with every link's line of advice filled in."""
    tagger = status.instruments.get("tagger")
    mute = "" if tagger is None or tagger.state == "READY" else tagger.state
    dark = any((one.reading or {}).get("emitting") is False for one in status.instruments.values())
    links = {
        name: replace(link, advice=link_advice(name, link, mute=mute, dark=dark)) for name, link in status.links.items()
    }
    return replace(status, links=links)


def link_advice(name: str, link: LinkStatus, *, mute: str = "", dark: bool = False) -> str:
    """Return what to do about a link; empty if nothing.

    Parameters
    ----------
    name
        Of the link.
    link
        As it is now.
    mute
        State of this node's tagger if it gives no tags.
    dark
        Whether a laser of this node gives no light.
    """
    if link.keys is not None and link.keys.to_do and link.state not in _DECIDED_BY_PEOPLE:
        return link.keys.to_do
    if link.state in {"ACQUIRING", "RELOCKING"}:
        if mute:
            return f"this node's tagger is {mute} and gives no tags: qnodectl devices says why"
        return _about_the_light(link, dark=dark) or _about_a_search(link)
    if link.state == "SIFTING":
        return _about_sifting(link)
    if link.state == "GREETING" and link.since_s > LONG_GREETING_S:
        return (
            "the peer is heard but does not agree: do what the reason says, look at qnodectl status there, and compare "
            "software versions"
        )
    if link.state == "ABSENT" and link.reason.startswith(GOODBYE):
        return f"nothing to do here: it was ended at {link.peer} for the reason given; qnodectl status there says more"
    if link.state == "ABSENT" and link.refused_keys:
        return (
            f"{link.refused_keys} connections had another key than peer_key: copy the peer's .key file to this machine"
        )
    return _OF_LINK.get(link.state, "").replace("LINK", name)


def instrument_advice(instrument: InstrumentStatus) -> str:
    """Return what to do about an instrument; empty if nothing."""
    if instrument.state == "READY" and instrument.problem is not None:
        if "settings_deg" in (instrument.reading or {}):
            return "no light until it stands where [operate.positions] has it: look at the instrument and at the angles"
        return "no light, for the reason given; unless it says that light comes back by itself: qnodectl light on"
    return _OF_INSTRUMENT.get(instrument.state, "")


def link_works(link: LinkStatus) -> bool:
    """Tell whether a link does its work, and nothing is to be done about it; its advice must be filled in."""
    return link.state == "INTERLUDE" or (link.state == "SIFTING" and not link.advice)


def instrument_ready(instrument: InstrumentStatus) -> bool:
    """Tell whether an instrument can be used without reserve, and does what the node wants of it."""
    return instrument.state == "READY" and instrument.problem is None


def is_well(status: NodeStatus) -> bool:
    """Tell whether the node runs on a sound machine, every link works and every instrument is ready."""
    return (
        status.node.state == "running"
        and not status.node.troubles
        and all(map(link_works, status.links.values()))
        and all(map(instrument_ready, status.instruments.values()))
    )


def _about_the_light(link: LinkStatus, *, dark: bool) -> str:
    if link.peer_light == "DARK":
        return f"the laser of {link.peer} is dark: qnodectl devices there says why, and what brings the light back"
    return "this node's laser is dark: qnodectl devices says why, and what brings the light back" if dark else ""


def _about_a_search(link: LinkStatus) -> str:
    for side, rate_hz in (("alice", link.rates.alice_hz), ("bob", link.rates.bob_hz)):
        if rate_hz is not None and rate_hz < DARK_HZ:
            return f"{side} counts {rate_hz:.0f} clicks a second: check laser, fibre, detector bias and tagger inputs"
    if link.since_s > LONG_SEARCH_S:
        return (
            f"no pairs found for {link.since_s:.0f} s: check that the source is on and both fibres are lit; "
            "if so, check that both hosts keep time (NTP), and widen search_offset_ps and search_frequency at both ends"
        )
    if link.state == "RELOCKING" and link.clock.locked:
        peer = link.peer
        return (
            f"nothing to do for the clock, which is held: look at fibres and source, and at qnodectl status of {peer}"
        )
    return _OF_LINK[link.state]


def _about_sifting(link: LinkStatus) -> str:
    total = link.qber.get("total")
    if total is not None and total.low > NO_KEY_QBER:
        return (
            f"QBER {total.value:.1%} is above {NO_KEY_QBER:.0%}, no key comes from this: check the polarization "
            "controllers and the fibres; without a cause, suspect an eavesdropper"
        )
    if link.sifted_age_s is not None and link.sifted_age_s > LONG_WITHOUT_EPOCH_S:
        return (
            f"no epoch was sifted for {link.sifted_age_s:.0f} s: see which discards grow (qnodectl links), and whether "
            "laser and taggers of both nodes are ready (qnodectl devices)"
        )
    if link.keys is not None and link.keys.authentication_low:
        return (
            "key to authenticate with runs dry, and the link ends when it does: find out why blocks give no key "
            "(qnodectl keys), or begin the link anew: qnodectl enrol and one new first secret at both nodes"
        )
    if link.keys is not None and not link.keys.blocks_distilled and sum(link.keys.discarded.values()) >= MANY_BLOCKS:
        return "no block gives a key: qnodectl events says why of each"
    epochs = link.epochs + sum(link.discards.values())
    dropped = link.discards.get("OVERLOAD", 0)
    if epochs and dropped / epochs > MUCH_OVERLOAD:
        return (
            f"{dropped} of {epochs} epochs were dropped under overload: lower the rates or give the daemon more cores"
        )
    return _OF_LINK["SIFTING"]
