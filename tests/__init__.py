"""The tests; rooms mirror the package, see CONTRIBUTING."""
