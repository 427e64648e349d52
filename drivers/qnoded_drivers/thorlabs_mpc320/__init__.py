"""Thorlabs MPC220 and MPC320: two or three motorized fibre paddles, over APT."""
