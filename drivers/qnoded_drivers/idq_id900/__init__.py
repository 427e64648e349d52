"""ID Quantique ID900 and ID1000: a time controller of four inputs behind ZeroMQ."""
