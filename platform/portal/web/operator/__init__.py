"""What operators and auditors see: queries to decide, parties, the audit trail, people."""
