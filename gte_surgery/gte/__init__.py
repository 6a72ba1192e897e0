"""What a GTE is: config dialects, tensor names and shapes, rotary positions, published releases, JSON Schemas.

This room knows no files and judges nothing: `gte_surgery.checkpoint` reads, `gte_surgery.checks` judges.
"""
