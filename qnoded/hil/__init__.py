"""Hardware in the loop: one suite for emulated, recorded and real instruments, and a guarantee that all ends dark.

``rig`` is the file that describes a bench. ``guard`` is the small process that starts the daemon, watches it, and makes
everything safe by raw bytes (``safing``) whatever ends the daemon; ``guarding`` is the runner's side of it. ``matrix``
has the ways in which a daemon and its instruments can fail, each with a bound for the time to safety; ``benches`` has
what they are played on. ``plugin`` makes a pytest run of it, ``report`` the page that a person reads.

``guard`` and ``safing`` import the standard library alone: what has to work when all else fails is small.
"""
