"""Corpora against the contract: files in blocks, blocks judged whole, summaries that add up in any order, on one
machine or on a Ray cluster."""
