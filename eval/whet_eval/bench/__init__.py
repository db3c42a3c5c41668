"""What Whet promises in numbers, measured as ratios in one run: `make bench`."""
