"""What was learnt, in the formats of others."""
