"""Published weights of families that others defined, one family a file."""
