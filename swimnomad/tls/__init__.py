"""TLS: contexts for RPC and HTTP, roles in certificates, and making certificates."""
