"""Mutation testing: a small change is made to a function, and a test has to notice. mutmut makes the changes; what runs
the tests is ours, see plugin.py.
"""
