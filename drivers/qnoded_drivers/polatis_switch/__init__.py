"""Polatis matrix switch: leads fibres to fibres, SCPI over TCP."""
