"""The training state beside a checkpoint's weights: the optimizer's file read without executing anything."""
