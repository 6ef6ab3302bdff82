"""Pi0.5: configuration, model, preprocessing, prompt and policy."""
