"""First-party driver plug-ins. They enter through the entry point group ``qnoded.drivers``, like a stranger's."""
