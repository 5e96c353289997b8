"""What a running service has learned since its model was trained: users, events, items and settings, kept for good."""
