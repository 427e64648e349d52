"""Tunable telecom lasers with the interface that their makers agreed on: OIF ITLA-MSA 1.2 and 1.3."""
