"""Scripts of turns and expectations: `whet run`."""
