"""Tuners of Hugging Face peft as methods."""

from .method import PeftMethod

__all__ = ["PeftMethod"]
