"""`python -m gte_surgery` is `gte-surgery`."""

from __future__ import annotations

from gte_surgery.cli.entry import main

main()
