"""What Thorlabs' instruments that speak APT have in common: messages, the driver of their motors, the far side."""
