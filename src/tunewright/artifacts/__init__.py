"""What stages leave on disk, and the run folder that holds it."""
