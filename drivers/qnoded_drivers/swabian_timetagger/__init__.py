"""Swabian Instruments Time Tagger 20, Ultra and X, through the maker's library."""
