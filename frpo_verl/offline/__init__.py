"""Makes the files of graded responses that the offline trainer reads: `frpo-verl offline-data`."""
