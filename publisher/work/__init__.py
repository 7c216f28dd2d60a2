"""Tasks: taken from the channel, run at a backend, answered frame by frame."""
