"""Training by recipes: engine, losses, and the recipes that ship. What it registers is in `icm_training.plugin`."""
