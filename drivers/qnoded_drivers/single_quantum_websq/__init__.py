"""Single Quantum WebSQ: the bias supply of superconducting nanowire detectors, JSON over TCP."""
