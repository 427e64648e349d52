"""A whole link on this machine: the world, two daemons, a network between them that can fail, and a judge.

``processes`` starts and ends what an operator would start, ``observer`` asks the daemons, ``view`` shows a visitor what
happens, ``verdict`` holds what the daemons concluded against what the world knows. ``show`` runs it all.
"""
