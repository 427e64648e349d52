"""S-Fifteen SPDC driver board: crystal heater, pump diode and its cooler of an entangled-pair source."""
