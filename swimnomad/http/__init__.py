"""Port 4646: the Agent HTTP API as thin handlers over the Agent facade."""
