"""OZ Optics DD-100-MC: a motor-driven variable attenuator, which knows where it is once it has been home."""
