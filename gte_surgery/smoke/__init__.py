"""The forward, and the backward if asked, that proves a checkpoint on a device: proofs with a measured value and a
tolerance each, speeds, and findings (GTE5xx) for what failed. Loading and attention are for `gte_surgery.model`.
"""
