"""Sensitivity, mechanisms and accounting: exact numbers, no arrays."""
