"""Answering over HTTP: many adapters on few backbones, in one process."""
