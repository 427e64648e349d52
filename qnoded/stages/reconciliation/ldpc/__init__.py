"""Reconciliation with low-density parity-check codes: alice sends a syndrome, bob decodes towards it.

One message is enough for nearly every block, where Cascade needs many, so this is the method for long or slow links.
``families`` holds the degrees, ``construction`` makes codes of them from a seed, ``adaptation`` cuts a code to the
block and to the error rate, ``disclosure`` says how much to tell, and ``frame`` encodes and decodes.
"""

from qnoded.stages.reconciliation.ldpc.adaptation import FEWEST_PAYLOAD_BITS, MOST_PAYLOAD_BITS, FramePlan
from qnoded.stages.reconciliation.ldpc.disclosure import first_leak, leak, next_step, plan_block, split
from qnoded.stages.reconciliation.ldpc.frame import Decoded, decode, disclosed, encode

__all__ = [
    "FEWEST_PAYLOAD_BITS",
    "MOST_PAYLOAD_BITS",
    "Decoded",
    "FramePlan",
    "decode",
    "disclosed",
    "encode",
    "first_leak",
    "leak",
    "next_step",
    "plan_block",
    "split",
]
