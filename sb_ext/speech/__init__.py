"""What trained speech models know: representations, speakers."""
