"""What lies on disk: strict JSON, safetensors headers, shards and their index, sidecar files, receipts.

This room reads and reports facts; it judges nothing about GTE and never reads tensor bytes.
"""
