"""The command ``pointadapt``."""
