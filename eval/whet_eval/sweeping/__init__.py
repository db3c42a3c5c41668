"""Two sweeps to look at: a better prompt on the local model, and a planted optimum on simulated ones."""
