"""A tokenizer moved to other ids: what it cannot do without, and all its files rewritten together."""
