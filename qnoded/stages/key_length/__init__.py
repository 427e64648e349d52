"""How many secret bits a block of sifted bits holds: published bounds, each with its assumptions.

Three kinds of number live here, and only the first may ever set the length of a key:

- *finite-key lengths*: ``bbm92_finite`` (entangled pairs, any block), ``small_blocks`` (entangled pairs, small blocks),
  ``decoy`` (weak pulses). ``block`` applies the entangled-pair bounds to one block of a link under one ``budget``.
- *asymptotic figures*: ``asymptotic``, ``device_independent``, ``link_models``. For plans and displays.
- *costs*: ``one_way`` (reconciliation), ``authentication`` (message authentication codes).

``families`` lists them all by the names that ``qnoded keyrate`` accepts; ``inputs`` reads and checks what they are
given; ``reference_rows`` holds them against numbers of others.
"""
