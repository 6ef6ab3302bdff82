"""`pi0-capture preview`: a contact sheet of what the policy would be shown."""
