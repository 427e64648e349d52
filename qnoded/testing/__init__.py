"""Published tools for tests of others.

``pair`` runs both ends of a conversation in memory; ``virtual_time`` runs asyncio code in no time; ``contract`` tells
the author of a driver what is still missing.
"""
