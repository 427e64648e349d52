"""Is this machine ready for a run? Looked at before the daemon starts, or while it runs; nothing is written or opened.

``finding`` is what one look brings. One module per thing that is looked at: ``machine`` (clock, processor, memory,
limits), ``compiled`` (kernels), ``service`` (systemd), ``storage`` (the state's disk), ``key_files``, ``network``,
``instruments`` (libraries, ports and who may use them). ``udev`` writes the rules that give ports their names and
owners; ``examining`` does it all. Everything that is read of the system is read below a ``root``, which is ``/`` but
in tests.
"""
