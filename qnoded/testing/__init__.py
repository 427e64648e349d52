"""Published tools for tests of others.

``pair`` runs both ends of a conversation in memory, ``live`` those of a live link over a bad network; ``virtual_time``
runs asyncio code in no time; ``contract`` tells the author of a driver what is still missing.
"""
