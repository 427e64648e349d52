"""S-Fifteen TDC1: a time tagger of four inputs and 2 ns on a USB serial port."""
