"""Published tools for tests of others: ``pair`` runs both ends of a conversation in memory."""
