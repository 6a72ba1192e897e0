"""The tests; rooms mirror the package, see the README's last section."""
