"""The training loop of an adapter, and what feeds it."""
