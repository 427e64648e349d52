"""S-Fifteen quad liquid-crystal driver: four retarders without moving parts, each set by the amplitude of a voltage."""
