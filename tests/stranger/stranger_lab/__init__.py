"""The Stranger VOA-60: a variable optical attenuator that answers lines of text, on TCP or a serial port."""
