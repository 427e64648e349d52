"""One module per stage, in the field's order: record in, record out; no clock, no files, no network."""
