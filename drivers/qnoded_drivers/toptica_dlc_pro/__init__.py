"""Toptica DLC pro: the controller of a tunable diode laser, over TCP or USB."""
