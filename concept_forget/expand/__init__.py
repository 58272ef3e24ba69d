"""What a language model writes about the concepts: facts, questions in many forms, neighbours."""
