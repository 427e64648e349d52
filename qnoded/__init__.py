"""qnoded: the open daemon that runs a node of a QKD / entanglement network."""
