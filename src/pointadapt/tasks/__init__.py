"""What is predicted from the tokens, one task a file. See :mod:`pointadapt.tasks.base`."""

from .base import TASKS, Answer, Head, Measure, Names, Task, check_inputs, make_task

__all__ = ["TASKS", "Answer", "Head", "Measure", "Names", "Task", "check_inputs", "make_task"]
