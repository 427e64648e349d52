"""qnoded: the open daemon that runs a node of a QKD / entanglement network. Here: the tour of one photon.

A photon ends in a detector. What becomes of it, room by room, in the field's words:

1.  *Time tagging.* The tagger writes a record: an input number and a time in its own ticks.
2.  *Acquisition.* ``formats`` reads the record from a file, whoever wrote it; ``kernels.ticks`` turns ticks into
    integer picoseconds and unwraps the counter's roll-overs. Out comes a ``records.TagBlock``. What was lost stays
    a gap.
3.  *Tagging.* ``stages.tagging`` gives the click its detector (and with it basis and bit), subtracts the detector's
    delay, drops echoes of the same detector and resolves clicks of several detectors at once. Out comes a
    ``DetectionEpoch``: 2**39 ps, about half a second, the unit of work and of loss.
4.  *Clock synchronization.* ``stages.synchronization`` knows neither clock. ``acquisition`` finds bob's offset and
    frequency from the photons alone, once; ``tracking`` follows them from epoch to epoch. Out comes link time.
5.  *Coincidence identification.* ``stages.coincidence`` finds alice's partner of bob's click, each used at most once,
    and counts in displaced windows of the same pass how many partners are mere chance. Out comes a
    ``CoincidenceIndex``.
6.  *Sifting.* ``stages.sifting`` keeps the pairs in equal bases. Out comes a ``SiftedEpoch``: a bit, not secret.
7.  *Estimation.* ``stages.estimation`` says what the bits are worth: QBER per basis, visibility, CHSH, heralding.

``stages.calibration`` measures the delays that step 3 subtracts, and ``stages.artefacts`` names detectors that lie.

The same photon on a live link. A driver (``instruments`` says what it must be; ``qnoded_drivers`` and ``sim.devices``
are some) gives ``TagBlock``s. ``node.acquisition`` cuts them into ``DetectionEpoch``s in a thread and hands them to the
link's script, ``exchange.identifying``: one end reveals times and bases (``stages.revealing`` codes them), the other
tracks the clock and finds the coincidences (``stages.matching``), and both sift. ``exchange.blocks`` gathers sifted
epochs into blocks that both ends hold; ``exchange.distilling`` makes keys of blocks, ``node.keys`` stores them,
``node.delivery`` hands them out. ``node.link`` greets the peer and begins anew when anything goes wrong;
``node.daemon`` starts it all and ends it dark.

``analysis`` walks recorded photons along the path (``qnoded analyze``); ``sim`` makes photons whose truth is known
(``qnoded simulate``, ``qnoded world``); ``demo`` runs a whole link on one machine (``qnoded demo``); ``bench`` measures
how fast the path is (``qnoded bench``); ``diagnosis`` looks at the machine before a run (``qnoded doctor``).

Which room does a new line belong in? Knows a photon: ``kernels``. Knows what the numbers mean: ``stages``. Knows that
there is a peer: ``exchange``. Knows a network, a thread or the clock on the wall: ``node``. Knows what an instrument
is: ``instruments``; knows its vendor: a driver. Knows a file of tags: ``formats``. Knows the order of the offline work:
``analysis``. Speaks to a person: ``cli``.
"""
