"""The family of 2024 (gte-multilingual-base, gte-base-en-v1.5): its dialects, names, inventory, rope, releases."""
