"""What planners share: tables that follow a vocabulary, names and storage, shards, config.json and index rewritten."""
