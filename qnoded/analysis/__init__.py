"""Recorded tags through the same stages as a live link: the offline half of qnoded.

Everything that ``qnoded analyze`` knows and the command line does not need to. It reads recordings block by block,
so its memory is bounded whatever their length, and it owns no physics: each number comes from a stage.

Read ``run`` first (the order of events), then ``clicks`` (recordings to labelled clicks), ``survey`` (first look:
artefacts, clock, delays), ``alignment`` (the walk through common time), ``epochs`` (what one epoch gives), ``totals``
(what is kept of all), ``result``, ``text`` and ``plots`` (what a person sees).
"""
