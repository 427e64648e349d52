"""The conversation with the peer, sans-IO: scripts of both ends side by side, and nothing that sends a byte.

A conversation is a generator script that yields effects (``effects``) and gets their results back; whoever runs it owns
sockets, threads and time. ``messages`` lists what is said. In the order of a block: ``sampling`` (test bits),
``reconciling`` (parities), ``verifying`` (a hash), ``amplifying`` (a seed); ``distilling`` chains them to a key, and
``committing`` puts it into both stores. What two nodes share without photons is agreed on in ``bootstrapping``;
``agreeing`` says when.
Authentication of the transcript is the link's part: the scripts trust that what they receive is what the peer sent,
and check that it makes sense.
"""
