"""Tuners of Hugging Face peft as methods."""
