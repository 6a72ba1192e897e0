"""What makes and moves ids: tokenizer files read, row maps and where they come from."""
