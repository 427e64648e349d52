"""The suite that every rig passes, whatever stands for its instruments."""
