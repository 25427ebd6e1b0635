"""Changes how verl starts and places its Ray workers."""
