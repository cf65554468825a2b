"""What the service is measured against, each in its own recommended production form."""
