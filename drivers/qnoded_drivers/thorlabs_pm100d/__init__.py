"""Thorlabs PM100D, PM100USB and PM400: optical power meters, SCPI over USB or TCP."""
