"""Objects and rooms that are made up: shapes drawn from primitives."""
