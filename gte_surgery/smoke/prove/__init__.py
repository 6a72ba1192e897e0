"""The claims of a surgery, run: the checkpoint before and the one after side by side, before anything is committed."""
