"""weaviate_collections: the objects that search sees, one collection per generation, behind one alias."""
