"""A recording that plays as if it were a live time tagger."""
