"""The node's keys on disk: made by two ends together, handed out once, never shown.

``opening`` and ``store`` are the door, ``sealed_talk`` is what a link's session uses. Behind it: ``database`` (one
file, one writer, shared commits), ``schema`` (its tables), ``contents`` (what is at hand in memory), ``sealing`` (no
key lies in the file in the clear) with ``secret_files``, ``blocks`` (two-sided commit), ``handing`` (to masters and
slaves) with ``key_ids`` (names that say who may fetch a key) and ``combining`` (hybrid keys), ``pools`` (key for
authentication), ``ledgers`` (what two ends show each other of it), ``identities`` (who signs), ``upkeep`` (enrolment,
expiry, erasure) and ``rotation`` (another key of the node).
"""
