"""What is predicted from the tokens, one task a file. See :mod:`pointadapt.tasks.base`."""

from .base import TASKS, Task, make_task

__all__ = ["TASKS", "Task", "make_task"]
