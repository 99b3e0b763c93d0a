"""What people are shown: the terminal, pictures and pages."""
