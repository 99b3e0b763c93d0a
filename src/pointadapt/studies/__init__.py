"""Many runs that answer one question: comparisons, cross-validation, few-shot, robustness."""
