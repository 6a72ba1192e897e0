"""Rows against the contract: blocks of flat arrays, judged whole, and counted."""
