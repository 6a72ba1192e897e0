"""Rules about the programs that load checkpoints, judged only with `--for` and the program's name."""
