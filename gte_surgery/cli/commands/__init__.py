"""One module for each command, imported when that command is called; each imports the core inside its function."""
