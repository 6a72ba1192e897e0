"""What lies between two checkpoints, and a portrait of one; reads only."""
