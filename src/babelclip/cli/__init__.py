"""Verbs on the command line: they parse and print; the work is done elsewhere."""
