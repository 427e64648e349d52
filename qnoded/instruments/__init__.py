"""What a laser, a polarization controller or a time tagger *is*: the door through which every driver comes.

Read ``protocols`` first: one small protocol per kind of instrument, what it can do as data in ``capability``, what it
was asked and what it answered in ``reading``. ``permit`` is the only thing that lets a laser emit. ``lifecycle`` is the
table of connection states; ``registry`` finds drivers by entry point and checks their settings in two steps.

No vendor is known here, and nothing here opens a port: drivers do (``qnoded_drivers``, ``qnoded.sim.devices``), and the
node supervises them (``qnoded.node.devices``).
"""
