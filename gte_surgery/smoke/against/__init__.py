"""Two finished checkpoints: what the later one should preserve, and what became of texts that it does not."""
