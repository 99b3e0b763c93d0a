"""A backbone with its adapters: switching them, saving, loading and folding them."""
