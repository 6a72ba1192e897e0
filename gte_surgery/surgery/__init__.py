"""Rewriting checkpoints: edits (requests), plans (pure), a writer, and the transaction that makes it all or nothing."""
