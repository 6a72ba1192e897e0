"""The native model of a checkpoint, with attention over packed tokens. Imports torch; checkpoints come from
`gte_surgery.checkpoint`, what they mean from `gte_surgery.gte`, and what they prove is for `gte_surgery.smoke`.
"""
