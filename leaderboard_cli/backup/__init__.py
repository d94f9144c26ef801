"""Write all regions' databases to a folder, and put such a folder in their place."""
