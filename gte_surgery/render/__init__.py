"""Results into text: pure functions that return str and never print. Names from a checkpoint leave here harmless."""
