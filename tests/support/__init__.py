"""What several tests need: oracles, servers, and ways to break things."""
