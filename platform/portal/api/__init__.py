"""The REST interface: thin views over actions, problems as RFC 9457 documents."""
