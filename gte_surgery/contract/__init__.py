"""The contract between whoever makes ids and masks and the model that is fed with them."""
