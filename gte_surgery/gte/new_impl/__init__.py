"""The family of 2024 (gte-multilingual-base, gte-base-en-v1.5, ...): dialects, names, inventory, rope, heads, releases."""
