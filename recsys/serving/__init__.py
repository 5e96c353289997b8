"""From an artifact to answers."""
