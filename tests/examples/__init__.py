"""Small example checkpoints, one folder each, and the test that discovers them."""
