"""OZ Optics EPC-400: four fibre squeezers, each driven by a voltage."""
