"""Made-up rooms, streets and landscapes, in which everything is known of every point."""
