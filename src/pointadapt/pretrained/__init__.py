"""Weights that others made: finding, checking, loading, downloading and converting them."""
