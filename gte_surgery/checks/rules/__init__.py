"""The rules: one small function each, a code and a one-line docstring; yields findings."""
