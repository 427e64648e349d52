"""Information reconciliation: bob's block becomes alice's, and every bit that is disclosed on the way is counted.

``reconciled`` holds what every method gives and how its disclosure is counted; ``cascade`` is the two-way method. A
method is one end's half of a conversation: packed parities out, the peer's in. ``qnoded.exchange.reconciling`` carries
them.
"""
