"""One batch against the contract: quickly whether it keeps it, exactly where it does not."""
