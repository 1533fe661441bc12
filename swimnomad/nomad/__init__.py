"""What makes a gossip member a Nomad agent: configuration, tags, server tables, facade."""
