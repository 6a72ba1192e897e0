"""safetensors headers, read strictly and written."""
