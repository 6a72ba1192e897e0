"""A checkpoint on a hub, read where it lies: addresses, one commit, ranges of bytes that arrive as they are needed."""
