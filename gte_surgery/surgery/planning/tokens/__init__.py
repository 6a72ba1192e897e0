"""What a surgery does to tokens: the tokenizer's files, the rows of special ones, the choice of a trim."""
