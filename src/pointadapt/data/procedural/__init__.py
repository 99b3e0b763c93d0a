"""Objects and rooms that are made up: shapes drawn from primitives."""

from . import furniture, house, things, vehicles  # noqa: F401 - they enter their recipes
