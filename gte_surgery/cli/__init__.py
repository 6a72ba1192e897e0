"""The command line: options in, one call of the core, text and an exit code out. Nothing is decided here twice."""
