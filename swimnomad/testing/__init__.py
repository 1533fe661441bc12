"""What users put in their own tests."""
