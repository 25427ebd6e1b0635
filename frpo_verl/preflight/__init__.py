"""Says everything that can be said of a run before Ray starts; importing it changes nothing."""
