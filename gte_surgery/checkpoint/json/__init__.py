"""JSON that knows its lines and columns, and edits that keep all else."""
