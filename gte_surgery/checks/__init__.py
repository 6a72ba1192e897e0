"""Rules: one small function each, with a permanent code, a severity and an explanation; `run` judges by them."""
