"""From images to predictions: the demo, the web page, and what is drawn."""
