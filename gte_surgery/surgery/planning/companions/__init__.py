"""What lies beside the weights and speaks of their rows: it follows them, goes, or stops the surgery."""
