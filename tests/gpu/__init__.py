"""What needs an NVIDIA GPU: tests (marked gpu), and the measurements of `bin/bench-gpu`."""
