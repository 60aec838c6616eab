"""What is sent for a run. Nothing is sent here."""
