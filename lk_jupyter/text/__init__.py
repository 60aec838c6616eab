"""Words, numbers and colors that several places show alike."""
