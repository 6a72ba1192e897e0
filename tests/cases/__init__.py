"""What was reported of checkpoints in the world, each as the shortest input that shows it, and how it must end."""
